"""What the decoders have in common: the part of a file that is wanted, and what comes of it.

It imports NumPy alone: the sandboxed decoder starts with it.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DECODE_SECONDS = 20.0  # no file of ours takes a tenth of this; a decoder that does is being attacked
SAMPLE_RATES = (4_000, 400_000)
BLOCK_VALUES = 1 << 18  # samples times channels decoded at once: 1 MiB as float32
CODECS = "PCM and float samples (wav, aiff, au), FLAC, Vorbis, Opus, MP3 and AAC"


class CannotRead(Exception):
    """One decoder cannot read the file; another may."""


class OtherCodec(Exception):
    """The sound is in a codec that is not on the list. Its text names the codec."""


class InMemory(io.BytesIO):
    """Bytes as a file, whose content can also be had as it is."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.content = content


@dataclass(frozen=True)
class Window:
    """Which part of a recording is decoded. `position` in [0, 1) is where a random part starts."""

    max_seconds: float
    offset: Literal["start", "middle", "random"]
    position: float = 0.0

    def start(self, duration_s: float) -> float:
        """Second at which the part starts, in a recording of that length."""
        spare = max(0.0, duration_s - self.max_seconds)
        return spare * {"start": 0.0, "middle": 0.5, "random": self.position}[self.offset]

    def length(self, duration_s: float) -> float:
        """How many seconds the part has."""
        return min(self.max_seconds, duration_s)


@dataclass(frozen=True)
class Stream:
    """Mono samples of the window, and facts on the whole recording."""

    samples: Floats
    sample_rate: int
    duration_s: float  # of what was decoded, if nothing tells more
    channels: int
    format: str
    is_length_known: bool = True


def room_for(window: Window, rate: int) -> int:
    """How many samples the window has at most; none at a rate that is refused anyway."""
    return round(window.max_seconds * rate) if SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1] else 0
