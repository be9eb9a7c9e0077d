"""Settling who keeps a recording that is there more than once. Pure, and the same whatever came first.

* The same bytes, or the same recording, several times in one genre: the file with the smallest key stays, the others are
  duplicates.
* The same recording in two genres: at least one label is wrong, and nobody knows which; none is used.
"""

from typing import TYPE_CHECKING

from genre_assets.audio.decoding.reasons import OK, Reason
from genre_assets.audio.recordings.fingerprint import recording_id, same_recordings

if TYPE_CHECKING:
    import pandas as pd

SETTLED = frozenset({Reason.DUPLICATE, Reason.DUPLICATE_RECORDING, Reason.CONFLICTING_LABEL})


def settle(inventory: "pd.DataFrame") -> "pd.DataFrame":
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
        rows = frame.loc[group]
        frame.loc[group, "recording"] = rows["recording"].iloc[0]
        if rows["genre"].nunique() > 1:
            _mark_conflict(frame, rows)
        else:
            _mark_duplicates(frame, rows)
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


def _mark_conflict(frame: "pd.DataFrame", rows: "pd.DataFrame") -> None:
    for label, row in rows.iterrows():
        others = rows.loc[rows["genre"] != row["genre"], "key"]
        frame.loc[label, ["verdict", "detail"]] = [Reason.CONFLICTING_LABEL.value, f"also {', '.join(others[:3])}"]


def _mark_duplicates(frame: "pd.DataFrame", rows: "pd.DataFrame") -> None:
    kept = rows["key"].iloc[0]
    same_bytes = rows["fingerprint"].duplicated()
    for label in rows.index[1:]:
        reason = Reason.DUPLICATE if same_bytes[label] else Reason.DUPLICATE_RECORDING
        frame.loc[label, ["verdict", "detail"]] = [reason.value, f"same as {kept}"]
