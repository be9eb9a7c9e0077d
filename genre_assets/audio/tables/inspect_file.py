"""Looking at one file, once: its facts, verdict and signature (a row of the inventory), and the rows of its features."""

import hashlib
import time
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from genre_assets.audio.decoding.decode import Clip
from genre_assets.audio.decoding.reasons import OK, AudioError, Reason
from genre_assets.audio.extract import Limits, decode_limited, extract_clip, fingerprint_of
from genre_assets.audio.recordings import fingerprint
from genre_assets.audio.tables.rows import NoFeatures, Rows

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


@dataclass(frozen=True)
class Looked:
    """What a look at a file gave. `features` is None if none were asked for, or the file cannot be used."""

    inspection: Inspection
    features: Rows | NoFeatures | None = None
    seconds: float = 0.0  # for decoding and the features


def rules(limits: Limits) -> str:
    """A short name for the rules that verdicts were made by; another name means that they must be made again."""
    return hashlib.sha256(repr((VERSION, astuple(limits))).encode()).hexdigest()[:12]


def refused(reason: Reason, detail: str = "", *, digest: str = "") -> Inspection:
    """The row of a file that cannot be used."""
    return Inspection(digest, "", 0.0, 0, 0, "", str(reason), detail, b"")


def inspect(source: bytes | Path, limits: Limits) -> Inspection:
    """Decode a file and describe it; never raises for what is in it."""
    return look(source, limits).inspection


def look(source: bytes | Path, limits: Limits, feature_set: str | None = None) -> Looked:
    """Decode a file, describe it and, where a `feature_set` is given, extract its features; never raises for what is in it."""
    digest = fingerprint_of(source)
    started = time.perf_counter()
    try:
        clip = decode_limited(source, limits)
    except AudioError as error:
        return Looked(refused(error.reason, error.detail, digest=digest))
    decode_s = time.perf_counter() - started
    inspection = _described(clip, digest)
    if feature_set is None:
        return Looked(inspection)
    started = time.perf_counter()
    features = rows_of(clip, limits, feature_set)
    return Looked(inspection, features, decode_s + time.perf_counter() - started)


def rows_of(clip: Clip, limits: Limits, feature_set: str) -> Rows | NoFeatures:
    """The feature rows of a decoded clip, or why it has none."""
    try:
        return Rows(*extract_clip(clip, feature_set=feature_set, limits=limits))
    except AudioError as error:
        return NoFeatures(str(error))


def _described(clip: Clip, digest: str) -> Inspection:
    signature = fingerprint.signature(clip.samples, clip.sample_rate)
    recording = fingerprint.recording_id(signature, digest)
    return Inspection(
        digest, recording, clip.duration_s, clip.sample_rate, clip.channels, clip.format, OK, "", signature
    )
