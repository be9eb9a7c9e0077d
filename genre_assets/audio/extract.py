"""Samples to a feature row, and a file to the rows of its segments.

This is the only feature code of the platform: Dagster's assets, the Triton pre-processor and the command line call it.
It runs on NumPy and SciPy alone (plus soundfile and av to decode), with NumPy 1.26 as with 2.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets.audio.decoding import decode as decoding
from genre_assets.audio.decoding import segments
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.dsp.filters import Doubles, Floats
from genre_assets.audio.dsp.memory import keep_freed_memory
from genre_assets.audio.dsp.spectrum import analyse
from genre_assets.audio.feature_sets import default, gtzan37
from genre_assets.errors import BadInput

if TYPE_CHECKING:
    from genre_assets.settings import Settings

Segments = tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class FeatureSet:
    """A named, versioned list of columns. A change of any value is a new version."""

    name: str
    version: str
    columns: tuple[str, ...]
    compute: Callable[[Floats, int], Doubles]


FEATURE_SETS: Mapping[str, FeatureSet] = {
    "default": FeatureSet(
        "default",
        default.VERSION,
        default.COLUMNS,
        lambda samples, rate: default.compute(default.spectrum_of(samples, rate)),
    ),
    "gtzan37": FeatureSet(
        "gtzan37",
        gtzan37.VERSION,
        gtzan37.COLUMNS,
        lambda samples, rate: gtzan37.compute(analyse(samples, rate, waveform=True)),
    ),
}


@dataclass(frozen=True)
class Limits:
    """How much of a file is used, and what is refused; see the settings of the same names.

    Parameters
    ----------
    max_seconds : float
        Seconds of a file that are used.
    segment_seconds : float
        Seconds of a segment: each has a row of features.
    offset : {"start", "middle", "random"}
        Where in a longer file the used part begins.
    min_seconds : float
        Files shorter than this are refused.
    max_file_mb : float
        Files of more MiB than this are refused.
    """

    max_seconds: float = 30.0
    segment_seconds: float = 10.0
    offset: decoding.Offset = "start"
    min_seconds: float = 1.0
    max_file_mb: float = 200.0

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Limits":
        """Take the limits that the settings state.

        Parameters
        ----------
        settings : Settings
            Of the stack.

        Returns
        -------
        Limits
            With the settings' values.
        """
        return cls(
            settings.max_seconds, settings.segment_seconds, settings.offset, settings.min_seconds, settings.max_file_mb
        )


@dataclass(frozen=True)
class Item:
    """What a file gave: a feature row for each segment, and facts.

    Parameters
    ----------
    features : ndarray of float32, shape (segments, columns)
        A row for each segment.
    segments : tuple of (int, float, float)
        Index, start and length in seconds of each row.
    fingerprint : str
        SHA-256 of the bytes, in hexadecimal.
    duration_s : float
        Length of the file in seconds.
    sample_rate : int
        Of the file, in hertz.
    channels : int
        Of the file.
    format : str
        Container and codec.
    decode_s : float
        Seconds that decoding took.
    extract_s : float
        Seconds that the features took.
    heard_from_s : float
        Second of the file at which the used part begins.
    heard_s : float
        Seconds of the used part.
    is_length_known : bool
        False if the container does not tell how long the file is: `duration_s` is then that of the used part.
    """

    features: Floats  # [segments, columns]
    segments: Segments  # index, start and length in seconds of each row
    fingerprint: str
    duration_s: float
    sample_rate: int
    channels: int
    format: str
    decode_s: float
    extract_s: float
    heard_from_s: float = 0.0
    heard_s: float = 0.0
    is_length_known: bool = True


def feature_set_named(name: str) -> FeatureSet:
    """The feature set of that name. Raises `BadInput` for an unknown one."""
    if name not in FEATURE_SETS:
        raise BadInput(f"no feature set {name!r}; there are: {', '.join(FEATURE_SETS)}")
    return FEATURE_SETS[name]


def extract(samples: Floats, sample_rate: int, *, feature_set: str = "default") -> Floats:
    """Compute the feature row of a mono waveform.

    Parameters
    ----------
    samples : ndarray of float32, shape (n,)
        Mono samples, 1 being full scale.
    sample_rate : int
        In hertz.
    feature_set : {"default", "gtzan37"}
        Which columns.

    Returns
    -------
    ndarray of float32, shape (columns,)
        One value for each column of the feature set.

    Raises
    ------
    AudioError
        `EMPTY` if there is no sample, `NOT_FINITE` if a feature is infinite or not a number.
    BadInput
        For an unknown feature set.

    Examples
    --------
    >>> import numpy as np
    >>> from genre_assets import extract
    >>> tone = np.sin(np.arange(3 * 22050, dtype=np.float32) / 20)
    >>> extract(tone, 22050, feature_set="gtzan37").shape
    (37,)
    """
    if not len(samples):
        raise AudioError(Reason.EMPTY, "no sample in it")
    keep_freed_memory()
    with np.errstate(all="ignore"), one_thread():
        values = feature_set_named(feature_set).compute(np.ascontiguousarray(samples, np.float32), sample_rate)
        row = values.astype(np.float32)
    if not np.isfinite(row).all():
        raise AudioError(Reason.NOT_FINITE, "its features are not finite")
    return row


def one_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread: its matrices are small here, and waiting threads cost several times the work."""
    controller = _thread_controller()
    return controller.limit(limits=1) if controller else nullcontext()


@cache
def _thread_controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:  # not in Triton's environment, which sets OPENBLAS_NUM_THREADS instead
        return None
    return ThreadpoolController()


def fingerprint_of(source: bytes | Path) -> str:
    """SHA-256 of the bytes, in hexadecimal."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decode_limited(source: bytes | Path, limits: Limits) -> decoding.Clip:
    """Decode within the limits. Raises `AudioError`."""
    return decoding.decode(
        source,
        max_seconds=limits.max_seconds,
        offset=limits.offset,
        min_seconds=limits.min_seconds,
        max_file_mb=limits.max_file_mb,
    )


def extract_clip(clip: decoding.Clip, *, feature_set: str, limits: Limits) -> tuple[Segments, Floats]:
    """Index, start and length in seconds of each segment of a decoded clip, and its feature row [segments, columns].

    Raises `AudioError` as `extract` does.
    """
    parts = segments.cut(
        clip.samples, clip.sample_rate, segment_seconds=limits.segment_seconds, max_seconds=limits.max_seconds
    )
    rows = [extract(part.samples, clip.sample_rate, feature_set=feature_set) for part in parts]
    return tuple((part.index, part.start_s, part.seconds) for part in parts), np.stack(rows)


def extract_item(source: bytes | Path, *, feature_set: str = "default", limits: Limits | None = None) -> Item:
    """Decode a file and extract a row of features for each segment.

    Parameters
    ----------
    source : bytes or Path
        The file, or its content.
    feature_set : {"default", "gtzan37"}
        Which columns.
    limits : Limits, optional
        How much of the file is used, and what is refused.

    Returns
    -------
    Item
        The rows, and facts about the file.

    Raises
    ------
    AudioError
        With its reason, if the file cannot be used.
    BadInput
        For an unknown feature set.
    """
    limits = limits or Limits()
    started = time.perf_counter()
    clip = decode_limited(source, limits)
    decoded = time.perf_counter()
    places, rows = extract_clip(clip, feature_set=feature_set, limits=limits)
    return Item(
        features=rows,
        segments=places,
        fingerprint=fingerprint_of(source),
        duration_s=clip.duration_s,
        sample_rate=clip.sample_rate,
        channels=clip.channels,
        format=clip.format,
        decode_s=decoded - started,
        extract_s=time.perf_counter() - decoded,
        heard_from_s=clip.start_s,
        heard_s=len(clip.samples) / clip.sample_rate,
        is_length_known=clip.is_length_known,
    )
