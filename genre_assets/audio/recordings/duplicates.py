"""Settling who keeps a recording that is there more than once. Pure, and the same whatever came first.

* The same bytes, or the same recording, several times in one genre: the file with the smallest key stays, the others are
  duplicates.
* The same recording in two genres: at least one label is wrong, and nobody knows which; none is used.
* Where a person chose one of the files (`genre-assets quarantine --put-back`), that one is used and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from genre_assets.audio.decoding.reasons import OK, SETTLED, Chosen, Reason
from genre_assets.audio.recordings.fingerprint import recording_id, same_recordings

if TYPE_CHECKING:
    import pandas as pd


class Copy(Protocol):
    """A file of a recording."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def recording(self) -> str: ...  # noqa: D102  # named by its own sound


@dataclass(frozen=True)
class Verdict:
    """What is settled of a file: the recording that it is of, and whether it is used."""

    recording: str
    verdict: str = OK
    detail: str = ""


@dataclass(frozen=True)
class _Row:
    label: str
    key: str
    fingerprint: str
    recording: str


def verdicts(copies: Sequence[Copy], chosen: Chosen | None = None) -> list[Verdict]:
    """What is settled of all the files of one recording, which come in the order of label and key.

    Of several that were `chosen`, the last choice counts.
    """
    recording = copies[0].recording
    mine = [copy for copy in copies if (copy.key, copy.fingerprint) in (chosen or {})]
    if chosen and mine and len(copies) > 1:
        return _beside(max(mine, key=lambda copy: chosen[copy.key, copy.fingerprint]), copies)
    if len({copy.label for copy in copies}) > 1:
        return [Verdict(recording, Reason.CONFLICTING_LABEL.value, _also(copy, copies)) for copy in copies]
    found, heard = [Verdict(recording)], {copies[0].fingerprint}
    for copy in copies[1:]:
        reason = Reason.DUPLICATE if copy.fingerprint in heard else Reason.DUPLICATE_RECORDING
        found.append(Verdict(recording, reason.value, f"same as {copies[0].key}"))
        heard.add(copy.fingerprint)
    return found


def _beside(kept: Copy, copies: Sequence[Copy]) -> list[Verdict]:
    """What is settled once a person chose the one that is kept."""
    said = f"same as {kept.key}, which a person chose"
    found = []
    for copy in copies:
        reason = Reason.DUPLICATE if copy.fingerprint == kept.fingerprint else Reason.DUPLICATE_RECORDING
        other = Verdict(copies[0].recording, reason.value, said)
        found.append(Verdict(copies[0].recording) if copy.key == kept.key else other)
    return found


def _also(copy: Copy, copies: Sequence[Copy]) -> str:
    return f"also {', '.join([other.key for other in copies if other.label != copy.label][:3])}"


def settle(inventory: "pd.DataFrame", chosen: Chosen | None = None) -> "pd.DataFrame":
    """The inventory of all genres (columns as stored, and `genre`) with verdicts on duplicates.

    Verdicts of an earlier settlement are forgotten first. Files of one recording share its `recording`.
    """
    frame = inventory.sort_values(["genre", "key"], ignore_index=True)
    earlier = frame["verdict"].isin(SETTLED)
    frame.loc[earlier, ["verdict", "detail"]] = [OK, ""]
    usable = frame.index[frame["verdict"] == OK]
    frame.loc[usable, "recording"] = [
        recording_id(signature, fingerprint)
        for signature, fingerprint in zip(frame.loc[usable, "signature"], frame.loc[usable, "fingerprint"], strict=True)
    ]
    for group in _groups(frame.loc[usable]):
        rows = frame.loc[group, ["genre", "key", "fingerprint", "recording"]]
        settled = verdicts([_Row(*row) for row in rows.itertuples(index=False)], chosen)
        frame.loc[group, ["recording", "verdict", "detail"]] = [
            [one.recording, one.verdict, one.detail] for one in settled
        ]
    return frame


def _groups(rows: "pd.DataFrame") -> "list[list[int]]":
    """Index labels of files that are the same recording: by their bytes, or by ear."""
    distinct = rows.drop_duplicates("fingerprint")
    of_fingerprint = {name: list(members) for name, members in rows.groupby("fingerprint").groups.items()}
    heard = same_recordings(distinct["signature"].tolist())
    grouped = {position for group in heard for position in group}
    alone = [[position] for position in range(len(distinct)) if position not in grouped]
    fingerprints = distinct["fingerprint"].tolist()
    groups = [sorted(label for p in group for label in of_fingerprint[fingerprints[p]]) for group in heard + alone]
    return [group for group in groups if len(group) > 1]
