"""Looking at one file: its facts, its verdict, its signature. One row of the inventory."""

import hashlib
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from genre_assets.audio.decoding.reasons import OK, AudioError, Reason
from genre_assets.audio.extract import Limits, decode_limited, fingerprint_of
from genre_assets.audio.recordings import fingerprint

VERSION = "2"  # of the rules: a change has every file looked at again


@dataclass(frozen=True)
class Inspection:
    """Facts on a file; unknown ones are empty or 0. `verdict` is "ok" or a reason code."""

    fingerprint: str
    recording: str
    duration_s: float
    sample_rate: int
    channels: int
    format: str
    verdict: str
    detail: str
    signature: bytes

    def as_row(self) -> dict[str, object]:
        """As a row of the inventory."""
        return asdict(self)


def rules(limits: Limits) -> str:
    """A short name for the rules that verdicts were made by; another name means that they must be made again."""
    return hashlib.sha256(repr((VERSION, astuple(limits))).encode()).hexdigest()[:12]


def refused(reason: Reason, detail: str = "", *, digest: str = "") -> Inspection:
    """The row of a file that cannot be used."""
    return Inspection(digest, "", 0.0, 0, 0, "", str(reason), detail, b"")


def inspect(source: bytes | Path, limits: Limits) -> Inspection:
    """Decode a file and describe it; never raises for what is in it."""
    digest = fingerprint_of(source)
    try:
        clip = decode_limited(source, limits)
    except AudioError as error:
        return refused(error.reason, error.detail, digest=digest)
    signature = fingerprint.signature(clip.samples, clip.sample_rate)
    recording = fingerprint.recording_id(signature, digest)
    return Inspection(
        digest, recording, clip.duration_s, clip.sample_rate, clip.channels, clip.format, OK, "", signature
    )
