"""Verdicts on duplicates in the inventories: over all of them, or, by the index of recordings, where something changed."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from genre_assets.audio.decoding.reasons import OK, SETTLED, Chosen
from genre_assets.audio.recordings.duplicates import Verdict, settle, verdicts
from genre_assets.audio.recordings.fingerprint import recording_id
from genre_assets.audio.recordings.index import BEHIND, Due, RecordingIndex
from genre_assets.audio.recordings.index_rows import File
from genre_assets.steps import Step, reached

if TYPE_CHECKING:
    import pandas as pd

FACTS = ["recording", "verdict", "detail"]


def name_of(record: Any) -> str:
    """A name for what a claim or a manifest (a dataclass) says, which changes whenever it is another; "" for none."""
    if record is None:
        return BEHIND
    said = asdict(record)
    if not said.get("parts"):  # one that was written before there were parts keeps its name
        said.pop("parts", None)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Settlement:
    """Inventories with their verdicts: those of the labels asked for, and of others whose verdicts may have changed."""

    tables: "dict[str, pd.DataFrame]"
    due: Due | None = None  # what the index must be told once they are written
    behind: Sequence[str] = field(default_factory=tuple)  # labels whose part of the index was not that of their table


def over_all(tables: "Mapping[str, pd.DataFrame]", chosen: Chosen | None = None) -> Settlement:
    """Settle all inventories, by label, from their signatures and what people chose."""
    import pandas as pd

    joined = settle(
        pd.concat([frame.assign(genre=genre) for genre, frame in tables.items()], ignore_index=True), chosen
    )
    found = {}
    for genre, frame in tables.items():
        rows = joined[joined["genre"] == genre].drop(columns="genre").reset_index(drop=True)
        found[genre] = rows[list(frame.columns)].astype(frame.dtypes.to_dict())
    return Settlement(found)


def by_index(
    index: RecordingIndex,
    fresh: "Mapping[str, pd.DataFrame]",
    stored: "Callable[[str], pd.DataFrame]",
    names: Mapping[str, str],
    chosen: Chosen | None = None,
    also: Collection[str] = (),
) -> Settlement:
    """Settle what changed with the `fresh` inventories, by label, beside those that are `stored`, and the contents `also`.

    `names` are those of the stored inventories (`name_of` their claims) of every label there is. Raises `TransientFailure`
    if the database is away.
    """
    behind = [label for label in index.behind(names) if label not in fresh]

    def files(label: str) -> list[File]:
        return _files(label, fresh[label] if label in fresh else stored(label))

    index.follow([*fresh, *behind], files, list(names))
    reached(Step.FEATURES_INDEX)
    due = index.due(also)
    changed: dict[str, dict[str, Verdict]] = {}
    for group in due.groups:
        for file, verdict in zip(group, verdicts(group, chosen), strict=True):
            changed.setdefault(file.label, {})[file.key] = verdict
    tables = {label: frame.sort_values("key", ignore_index=True) for label, frame in fresh.items()}
    tables |= {label: stored(label) for label in changed if label not in fresh}
    return Settlement(
        {label: _with(frame, changed.get(label, {})) for label, frame in tables.items()}, due, tuple(behind)
    )


def _files(label: str, frame: "pd.DataFrame") -> list[File]:
    """The files that can be used, were it not for their duplicates."""
    rows = frame[(frame["verdict"] == OK) | frame["verdict"].isin(SETTLED)]
    return [
        File(label, key, fingerprint, recording_id(signature, fingerprint), signature)
        for key, fingerprint, signature in zip(rows["key"], rows["fingerprint"], rows["signature"], strict=True)
    ]


def _with(frame: "pd.DataFrame", changed: Mapping[str, Verdict]) -> "pd.DataFrame":
    import pandas as pd

    places = pd.Index(frame["key"]).get_indexer(list(changed))
    known = [(place, verdict) for place, verdict in zip(places, changed.values(), strict=True) if place >= 0]
    table = frame.copy()
    for fact in FACTS:
        values = table[fact].to_numpy(copy=True)
        for place, verdict in known:
            values[place] = getattr(verdict, fact)
        table[fact] = values
    return table
