"""Figures of matplotlib as PNG, and as Markdown that needs no server: Dagster's pages show them."""

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_png(figure: "Figure", *, dpi: int = 80) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def as_markdown(title: str, png: bytes) -> str:
    """A picture within the text; the title is shown where pictures are not."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
