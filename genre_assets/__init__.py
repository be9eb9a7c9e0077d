"""Audio classification in production: labelled audio in S3 to a Triton ensemble that watches itself.

    audio      S3 -> features
    models     features -> champion and fallback
    packaging  champion and fallback -> a release: Triton repository and execution environment
    serving    release -> answers -> drift -> fallback, and back
    triton, inference: the contract with the server, and what runs inside it; stack: the local services; cli: the commands

Each package says what is in it; `definitions.py` puts the stages together. Add here: what every floor may import, and
what assembles. Not here: anything that belongs to one stage. Floors import downwards only (`make check`, docs/tree.md).

The names in `__all__` are the public API: they and what they take and give change only with a new minor version, and the
change is in CHANGELOG.md. Everything else may move. They are imported when they are first asked for, so that importing
the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genre_assets.audio.extract import Item, Limits, extract, extract_item
    from genre_assets.models.onnx.portable import PortableModel, load_model
    from genre_assets.triton.client.aio import AsyncGenreClient
    from genre_assets.triton.client.prediction import Heard, Prediction
    from genre_assets.triton.client.sync import GenreClient
    from genre_assets.triton.client.timeline import Span, Timeline, TimelineSegment

__all__ = [
    "AsyncGenreClient", "GenreClient", "Heard", "Item", "Limits", "PortableModel", "Prediction", "Span", "Timeline",
    "TimelineSegment", "extract", "extract_item", "load_model",
]  # fmt: skip
_HOMES = {
    "genre_assets.audio.extract": ("Item", "Limits", "extract", "extract_item"),
    "genre_assets.models.onnx.portable": ("PortableModel", "load_model"),
    "genre_assets.triton.client.aio": ("AsyncGenreClient",),
    "genre_assets.triton.client.prediction": ("Heard", "Prediction"),
    "genre_assets.triton.client.timeline": ("Span", "Timeline", "TimelineSegment"),
    "genre_assets.triton.client.sync": ("GenreClient",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
