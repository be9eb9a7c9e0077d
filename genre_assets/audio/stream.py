"""What the decoders have in common: the part of a file that is wanted, and what comes of it."""

from dataclasses import dataclass
from typing import Literal

from genre_assets.audio.filters import Floats

DECODE_SECONDS = 20.0  # no file of ours takes a tenth of this; a decoder that does is being attacked


class CannotRead(Exception):
    """One decoder cannot read the file; another may."""


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
    duration_s: float
    channels: int
    format: str
