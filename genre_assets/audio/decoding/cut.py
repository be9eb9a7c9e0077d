"""How a clip is cut into segments: part of what a model is, since its rows were made so. Runs inside Triton too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from genre_assets.settings import Settings


@dataclass(frozen=True)
class Cut:
    """How much of a file is used, from where, in how long segments; a shorter file than `min_seconds` is refused."""

    max_seconds: float
    segment_seconds: float
    offset: Literal["start", "middle", "random"]
    min_seconds: float

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Cut":
        """The cut in force now: for new features, never for a model that is there."""
        return cls(settings.max_seconds, settings.segment_seconds, settings.offset, settings.min_seconds)

    @property
    def segments(self) -> int:
        """How many segments a clip of `max_seconds` has (at least one)."""
        return max(1, round(self.max_seconds / self.segment_seconds))

    def __str__(self) -> str:
        return f"{self.max_seconds:g} s from the {self.offset}, by {self.segment_seconds:g} s, at least {self.min_seconds:g} s"
