"""Why an audio file is not used: the reason codes of the quarantine, and the error that carries one.

Every code has one meaning for people (`MEANING`), which the UI, the command line and the documentation show.
"""

from collections.abc import Mapping
from enum import StrEnum

from genre_assets.errors import BadInput

OK = "ok"  # the verdict on a file that is used


class Reason(StrEnum):
    """Reason codes, as they stand in the `verdict` column of the inventory."""

    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    SILENT = "silent"
    TOO_SHORT = "too_short"
    NOT_FINITE = "not_finite"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    DUPLICATE = "duplicate"
    DUPLICATE_RECORDING = "duplicate_recording"
    CONFLICTING_LABEL = "conflicting_label"
    UNKNOWN_GENRE = "unknown_genre"


MEANING: Mapping[Reason, str] = {
    Reason.UNDECODABLE: "no decoder can read it",
    Reason.TRUNCATED: "it holds less sound than its header says",
    Reason.EMPTY: "it has no bytes, or no sample",
    Reason.SILENT: "nothing in it is louder than -80 dB of full scale",
    Reason.TOO_SHORT: "it is shorter than GENRE_MIN_SECONDS",
    Reason.NOT_FINITE: "it holds samples that are not numbers, or beyond any level",
    Reason.UNSUPPORTED: "it is not audio, or in a codec that is not read, or has a sample rate out of range",
    Reason.TOO_LARGE: "it is larger than GENRE_MAX_FILE_MB",
    Reason.DUPLICATE: "the same bytes are there under another key",
    Reason.DUPLICATE_RECORDING: "the same recording is there in another file",
    Reason.CONFLICTING_LABEL: "the same recording is there in another genre too",
    Reason.UNKNOWN_GENRE: "its folder is not one of the genres",
}


SETTLED = frozenset({Reason.DUPLICATE, Reason.DUPLICATE_RECORDING, Reason.CONFLICTING_LABEL})
"""Of a file that could be used, were it not for the other copies of its recording."""

Chosen = Mapping[tuple[str, str], str]
"""When a person chose a file among such copies, as a text that sorts, by its key and content hash."""


class AudioError(BadInput):
    """An audio file that cannot be used. `reason` is for tables, `detail` for people."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail or MEANING[reason]}")
        self.reason = reason
        self.detail = detail or MEANING[reason]
