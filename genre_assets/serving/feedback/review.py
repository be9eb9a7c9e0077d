"""The list for labelling: answered clips that a person should listen to.

Listed are clips that people disagree on, answers that champion and fallback disagree on, the least sure ones, and those
that lie furthest from the training data; of clips that sound alike, one. What is labelled already is left out. The labels
go to `labels/` in the raw bucket (`label_lists`), from where they are joined to the windows and become training data.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets import labels as label_set
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.evaluate import References, sound_items
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.reference import Floats
from genre_assets.serving.drift.shadow import IdleModels
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.feedback import agreement, label_studio, selection
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, parse_uri

if TYPE_CHECKING:
    import pandas as pd

CONFLICT, DISAGREEMENT = "two people disagree", "champion and fallback disagree"
UNSURE, STRANGE = "low confidence", "far from the training data"


@dataclass(frozen=True)
class Candidate:
    """A clip to label. `genre` is empty: the person fills it in, and may say in `labelled_by` who that is.

    `other` is what the model says that does not serve, empty where it was not asked or agrees. `address` is where the clip
    was when it was sent by its address, or is kept if clients' audio is; `listen` opens it in a browser, for a week, and is
    empty unless it is seen to be there. `confidence` and `strangeness`
    are None for a clip whose answer is not in the log any more.
    """

    request_id: str
    item: int
    fingerprint: str
    answered: str
    confidence: float | None
    strangeness: float | None
    reason: str
    window: str
    genre: str = ""
    format: str = ""
    duration_s: float | None = None
    tag: str = ""
    address: str = ""
    listen: str = ""
    other: str = ""
    model: str = ""
    labelled_by: str = ""


@dataclass(frozen=True)
class _Scored:
    """Items of one window: candidates without a reason, and their scores and features."""

    candidates: Sequence[Candidate]
    features: Sequence[Sequence[float]]
    disagreement: Sequence[float]


def candidates(
    database: Database, store: ObjectStore, settings: Settings, *, limit: int = 50, windows: int = 10
) -> list[Candidate]:
    """The clips of the last windows that are worth a label, those that people disagree on first; each song once."""
    references = References(store, settings)
    clips = agreement.labelled_clips(database)
    listed = [_conflict(clip) for clip in clips if clip.label is None][:limit]
    known = {clip.fingerprint for clip in clips} | {(clip.request_id, clip.item) for clip in clips}
    found: dict[str, tuple[Candidate, Sequence[float], float]] = {}
    newest = window_store.newest(database, windows)
    for result in newest:
        scored = _scored(database, references, result)
        for one, features, differs in zip(scored.candidates, scored.features, scored.disagreement, strict=True):
            if one.fingerprint not in known and (one.request_id, one.item) not in known:
                found.setdefault(one.fingerprint, (one, features, differs))
    base = next((b for b in (_base(references, result) for result in newest) if b is not None), None)
    order = sorted(found)
    pool = [found[name][0] for name in order]
    places, radius = _places(base, [found[name][1] for name in order])
    scores = {
        DISAGREEMENT: [found[name][2] for name in order],
        UNSURE: [1 - (one.confidence or 0.0) for one in pool],
        STRANGE: [one.strangeness or 0.0 for one in pool],
    }
    chosen = selection.choose(scores, places, radius, limit - len(listed))
    listed += [replace(pool[index], reason=reason) for index, reason in chosen]
    return [replace(one, listen=_link(store, one.address)) for one in listed]


def _conflict(clip: agreement.LabelledClip) -> Candidate:
    """A clip on which people disagree: who says what stands in the reason."""
    return Candidate(
        clip.request_id, clip.item, clip.fingerprint, "", None, None, f"{CONFLICT}: {clip.said}", "",
        tag=clip.tag, address=clip.address,
    )  # fmt: skip


def _scored(database: Database, references: References, result: DriftResult) -> _Scored:
    items = sound_items(window_store.rows(database, result.window))
    if items.empty:
        return _Scored([], [], [])
    base = _base(references, result)
    values = np.array(items["features"].tolist(), np.float32)
    far = [0.0] * len(items) if base is None else selection.strangeness(base, values).tolist()
    differs, other = _second_opinion(references.idle, result, items, values)
    made = [
        Candidate(
            row["request_id"], int(row["item"]), row["fingerprint"], row["label"],
            round(float(row["confidence"]), 4), round(float(strange), 3), "", result.window.id,
            format=row["format"] or "", duration_s=_seconds(row["duration_s"]), tag=row["tag"] or "",
            address=row["address"] or "", other=says, model=f"{row['model']} version {row['version']}",
        )
        for row, strange, says in zip(items.to_dict("records"), far, other, strict=True)
    ]  # fmt: skip
    return _Scored(made, items["features"].tolist(), differs)


def _base(references: References, result: DriftResult) -> Baseline | None:
    """What the window was compared with; None if it could not be, or not any more."""
    inconclusive = result.findings[Property.FEATURE_DRIFT].level is Level.INCONCLUSIVE
    return None if result.reference_version is None or inconclusive else references.find(result.reference_version)


def _second_opinion(
    idle: IdleModels, result: DriftResult, items: "pd.DataFrame", values: Floats
) -> tuple[Sequence[float], Sequence[str]]:
    """How much the model that does not serve disagrees on each item, and what it says; nothing where it cannot be asked."""
    nothing = [0.0] * len(items), [""] * len(items)
    try:
        version, labels = idle.version(result.window.epoch.route), idle.labels()
        served: list[Any] = items["probabilities"].tolist()
        if version is None or {len(p) for p in served} != {len(labels)}:
            return nothing  # answered by a release of other labels
        probabilities = idle.probabilities(version, values)
    except (GenreError, FileNotFoundError, ValueError):
        return nothing
    differs = selection.disagreement(np.array(served, np.float32), probabilities)
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    says = [f"{labels[b]} ({s:.0%})" if d > 0 else "" for b, s, d in zip(best, sure, differs, strict=True)]
    return differs.tolist(), says


def _places(base: Baseline | None, features: Sequence[Sequence[float]]) -> tuple[Floats, float]:
    """Where the items are, and how near counts as the same; items of other features than the reference's are near nothing."""
    if base is None:
        return np.full((len(features), 1), np.nan, np.float32), 0.0
    width = len(base.reference.columns)
    places = np.full((len(features), width), np.nan, np.float32)
    fits = [index for index, row in enumerate(features) if len(row) == width]
    if fits:
        places[fits] = selection.positions(base, np.array([features[index] for index in fits], np.float32))
    return places, selection.neighbourhood(base)


def _seconds(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(float(value), 1)


def _link(store: ObjectStore, address: str) -> str:
    """A link to the object, if it is there and may be looked at."""
    try:
        return store.browser_link(*parse_uri(address)) if address and store.exists(*parse_uri(address)) else ""
    except GenreError:
        return ""


def write_list(path: Path, listed: Sequence[Candidate]) -> None:
    """The list as CSV, its column `genre` left for a person to fill in."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Candidate.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(c) for c in listed)


def write_tasks(path: Path, listed: Sequence[Candidate], store: ObjectStore, settings: Settings) -> tuple[Path, int]:
    """The list as tasks for Label Studio, and beside them the labelling page (`.xml`) for today's label set.

    A clip without an address that plays cannot be labelled there, and is left out. Returns the page's path and how many
    were left out. Raises `BadInput` when there is no label yet.
    """
    names = label_set.names(store, settings)
    if not names:
        raise BadInput("there is no label yet: ingest audio first, or genre-assets labels add NAME")
    tasks = [_task(one, set(names)) for one in listed if one.listen]
    path.write_text(label_studio.tasks_json(tasks) + "\n")
    page = path.with_suffix(".xml")
    page.write_text(label_studio.page(names))
    return page, len(listed) - len(tasks)


def _task(one: Candidate, names: set[str]) -> label_studio.Task:
    """With the answer chosen already, where it is a label still."""
    more = {name: value for name, value in asdict(one).items() if value not in ("", None) and name != "listen"}
    data = label_studio.TaskData.model_validate({**more, "audio": one.listen})
    if one.answered not in names or one.confidence is None:
        return label_studio.Task(data=data)
    chosen = label_studio.ChoiceResult(value=label_studio.ChoiceValue(choices=[one.answered]))
    answer = label_studio.Prediction(model_version=one.model, score=one.confidence, result=[chosen])
    return label_studio.Task(data=data, predictions=[answer])
