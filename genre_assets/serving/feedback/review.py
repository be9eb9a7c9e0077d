"""The list for labelling: answered clips that a person should listen to, and the way of their labels back.

Listed are the least sure answers and those that lie furthest from the training data. The labels go to `labels/` in the
raw bucket, from where drift reports join them to the windows, and whoever labelled may add the clips to the genres.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.database import Database
from genre_assets.errors import BadInput, GenreError
from genre_assets.labels import LabelSet
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.evaluate import References, sound_items
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.null import Baseline
from genre_assets.serving.drift.reference import Floats, rank_scores
from genre_assets.serving.drift.verdict import Level
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, parse_uri
from genre_assets.text import read_rows, visible

LABEL_COLUMNS = ("request_id", "item", "genre")
LONGEST_REQUEST_ID = 200


@dataclass(frozen=True)
class Candidate:
    """A clip to label. `genre` is empty: the person fills it in.

    `address` is where the clip was when it was sent by its address, or is kept if clients' audio is; `listen` opens it in
    a browser, for a week, and is empty unless it is seen to be there.
    """

    request_id: str
    item: int
    fingerprint: str
    answered: str
    confidence: float
    strangeness: float
    reason: str
    window: str
    genre: str = ""
    format: str = ""
    duration_s: float | None = None
    tag: str = ""
    address: str = ""
    listen: str = ""


def strangeness(base: Baseline, values: Floats) -> Floats:
    """How far each item is from the nearest genre of the training data, in whitened rank scores, float32 [n]."""
    whitened = rank_scores(base.reference, values) @ base.whitener
    distances = np.linalg.norm(whitened[:, None, :] - base.whitened, axis=2)
    nearest: Floats = distances.min(axis=1)
    return nearest


def candidates(
    database: Database, store: ObjectStore, settings: Settings, *, limit: int = 50, windows: int = 10
) -> list[Candidate]:
    """The clips of the last windows that are worth a label: half the least sure, half the strangest, each once."""
    references = References(store, settings)
    found: dict[str, Candidate] = {}
    for judged in window_store.newest(database, windows):
        items = sound_items(window_store.rows(database, judged.window))
        if items.empty:
            continue
        strange: Sequence[float] = [0.0] * len(items)
        if (
            judged.reference_version is not None
            and judged.findings[Property.FEATURE_DRIFT].level is not Level.INCONCLUSIVE
        ):
            base = references.load(judged.reference_version)
            strange = strangeness(base, np.array(items["features"].tolist(), np.float32)).tolist()
        for row, far in zip(items.to_dict("records"), strange, strict=True):
            found.setdefault(
                row["fingerprint"],
                Candidate(
                    row["request_id"], int(row["item"]), row["fingerprint"], row["label"],
                    round(float(row["confidence"]), 4), round(float(far), 3), "", judged.window.id,
                    format=row["format"] or "", duration_s=_seconds(row["duration_s"]), tag=row["tag"] or "",
                    address=row["address"] or "",
                ),
            )  # fmt: skip
    unsure = sorted(found.values(), key=lambda c: c.confidence)[: limit - limit // 2]
    known = {c.fingerprint for c in unsure}
    strangest = [c for c in sorted(found.values(), key=lambda c: -c.strangeness) if c.fingerprint not in known]
    listed = [
        *(replace(c, reason="low confidence") for c in unsure),
        *(replace(c, reason="far from the training data") for c in strangest[: limit // 2]),
    ]
    return [replace(c, listen=_link(store, c.address)) for c in listed]


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


def take_labels(path: Path, store: ObjectStore, settings: Settings, now: datetime | None = None) -> tuple[str, int]:
    """Send the labels of a filled-in list to the object store; rows without a genre are left out.

    Returns the key and how many labels it holds.

    Raises
    ------
    BadInput
        When the file cannot be read, columns are missing, a genre is unknown (with its line), or no row has a genre.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    said = _parsed(data, str(path))  # first: what is wrong with a file is told without asking S3 for anything
    labels = _known(said, str(path), label_set.read(store, settings)) if said else []
    if not labels:
        raise BadInput(f"{path}: no row has a genre yet")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(LABEL_COLUMNS)
    writer.writerows(labels)
    content = buffer.getvalue().encode()
    key = keys.label_file(now or datetime.now(UTC), content)
    store.put_bytes(settings.raw_bucket, key, content, "text/csv")
    return key, len(labels)


def read_labels(data: bytes, name: str, known: LabelSet) -> list[tuple[str, int, str]]:
    """(request_id, item, label) of each labelled row. Raises `BadInput` with the line of the first bad one."""
    return _known(_parsed(data, name), name, known)


def _parsed(data: bytes, name: str) -> list[tuple[int, str, int, str]]:
    """(line, request_id, item, what was written) of each row that is filled in."""
    said = []
    for line, row in read_rows(data, name, LABEL_COLUMNS):
        text, item, request_id = row["genre"].strip(), row["item"].strip(), row["request_id"].strip()
        if not text:
            continue
        where = f"{visible(name)}, line {line}"
        if not (item.isascii() and item.isdigit() and len(item) < 10):
            raise BadInput(f"{where}: item {item[:50]!r} is no number of an item")
        if not 0 < len(request_id) <= LONGEST_REQUEST_ID:
            raise BadInput(f"{where}: request_id must have 1 to {LONGEST_REQUEST_ID} characters, not {len(request_id)}")
        said.append((line, request_id, int(item), text))
    return said


def _known(said: Iterable[tuple[int, str, int, str]], name: str, known: LabelSet) -> list[tuple[str, int, str]]:
    labels = []
    for line, request_id, item, text in said:
        label = known.find(text)
        if label is None:
            there = ", ".join(known.names) or "none"
            raise BadInput(f"{visible(name)}, line {line}: {text[:50]!r} is no label; there are: {there}")
        labels.append((request_id, item, label))
    return labels
