"""What people agree on. A label is of content, not of a request: two answers to the same file have the same label.

Each person has one say on a clip, the last one. Where two people say different things nobody is right until they agree:
such a clip is in no training data and in no window's accuracy, and is listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from genre_assets.database import Database

UNKNOWN_PERSON = "unknown"
"""Who gave the labels of before it was kept."""

_CLIP = "coalesce(fingerprint, request_id || '#' || item)"
"""What a label is of, in SQL: the content; while no answer of that item is in the log, the item."""

_LAST_SAYS = f"""SELECT DISTINCT ON ({_CLIP}, labelled_by) {_CLIP} AS clip, * FROM served_labels
    ORDER BY {_CLIP}, labelled_by, taken_at DESC, request_id, item"""  # noqa: S608  # constants
_FIND_ANSWERS = """
UPDATE served_labels AS l SET fingerprint = r.fingerprint, address = r.address, tag = r.tag, answered_at = r.ts
FROM served_requests AS r WHERE l.fingerprint IS NULL AND (r.request_id, r.item) = (l.request_id, l.item)
AND r.error_code IS NULL AND r.fingerprint IS NOT NULL
"""
_SAYS = f"""SELECT clip, fingerprint, address, tag, answered_at, request_id, item, genre, labelled_by, file
    FROM ({_LAST_SAYS}) AS said ORDER BY clip, labelled_by"""  # noqa: S608


@dataclass(frozen=True)
class LabelledClip:
    """A clip that somebody labelled. Its item is the one that was labelled last, by the first person in order.

    `labels` is what each person says; `fingerprint` is empty while no answer is in the log, `address` where the clip lay
    when it was answered (empty for one sent as bytes that were not kept).
    """

    fingerprint: str
    request_id: str
    item: int
    labels: Mapping[str, str]
    address: str = ""
    tag: str = ""
    answered_at: datetime | None = None
    files: tuple[str, ...] = ()

    @property
    def label(self) -> str | None:
        """What all say; None in a conflict."""
        said = set(self.labels.values())
        return next(iter(said)) if len(said) == 1 else None

    @property
    def said(self) -> str:
        """Who says what, in one line."""
        return ", ".join(f"{person}: {label}" for person, label in self.labels.items())


def find_answers(database: Database) -> int:
    """Note for each new label the content that it is of, and where that lay; returns for how many it was found.

    What is noted outlives the log, which is kept for some days only.
    """
    return database.execute(_FIND_ANSWERS)


def labelled_clips(database: Database) -> list[LabelledClip]:
    """Every clip that somebody labelled, in the order of its content hash."""
    clips: dict[str, LabelledClip] = {}
    for row in database.rows(_SAYS):
        before = clips.get(row["clip"])
        files = {*(before.files if before else ()), *([row["file"]] if row["file"] else [])}
        clips[row["clip"]] = LabelledClip(
            fingerprint=row["fingerprint"] or "",
            request_id=before.request_id if before else row["request_id"],
            item=before.item if before else row["item"],
            labels={**(before.labels if before else {}), row["labelled_by"]: row["genre"]},
            address=(before.address if before else "") or row["address"] or "",
            tag=(before.tag if before else "") or row["tag"] or "",
            answered_at=before.answered_at if before else row["answered_at"],
            files=tuple(sorted(files)),
        )
    return list(clips.values())


def conflicts(database: Database) -> list[LabelledClip]:
    """The clips on which two people disagree."""
    return [clip for clip in labelled_clips(database) if clip.label is None]
