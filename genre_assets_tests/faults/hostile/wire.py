"""What is sent: bytes for the HTTP port, or messages for a method of the gRPC service."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genre_assets.triton.protocol import PYTHON_MODELS

SHAPES: tuple[Any, ...] = (
    [0, 1], [-1, 1], [1], [], [1, 1, 1], [2, 1], [1, 0], [17, 1], [2**63 - 1, 1], [2**62, 4], [-(2**63), 1], [10**30, 1],
    ["1", 1], [1.5, 1], [None, 1], "1", {}, 1,
)  # fmt: skip
TEXTS = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\uffff",
    "../" * 20,
    "%00",
    "x" * 5000,
    "\U0001f3b5" * 300,
    "\r\n\r\n",
)


@dataclass(frozen=True)
class Wire:
    """Bytes for the HTTP port; `whole` is false if the client goes away in the middle of them."""

    data: bytes
    whole: bool = True


@dataclass(frozen=True)
class Call:
    """Messages for a method of the gRPC service."""

    method: str
    messages: tuple[bytes, ...]


Hostile = Wire | Call
# Step of the ensemble -> the model that the campaign's server asks for it: any client may look that up.
INNER = {step: step for step in PYTHON_MODELS}
Maker = Callable[[random.Random], Hostile]


def tensor(item: bytes) -> bytes:
    """An item as Triton carries text: its length, then its bytes."""
    return len(item).to_bytes(4, "little") + item
