"""What the door keeps from Triton: the few requests that are known to end its process, and what is too large.

Triton reads JSON by a parser that calls itself for each level, makes room for as many numbers as a shape promises before it
counts them, and answers `classification` of a text output with a division by zero. Where the two could read a request
differently, it is refused.
"""

import asyncio
import json
import math
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

DEEPEST = 64  # levels of lists and objects; a request of a client has five
LARGEST_JSON = 2**20  # bytes; audio travels as binary data behind the JSON
GRACE_SECONDS = 3.0  # for what is under way when the door is closed
TURN = 20_000  # tokens that are looked at before others have their turn
CLASSIFICATION = b"classification"
LENGTH_DELIMITED = 2  # the wire type of protobuf; tags of one byte have no highest bit
RAW_INPUT = 7 << 3 | LENGTH_DELIMITED  # the field `raw_input_contents`
USUAL_FIELDS = 64
ESCAPE = b"\\u"  # by which a key may be written otherwise
HEADER_LENGTH = "Inference-Header-Content-Length"
INFER = re.compile(r"(/v2/models/[^/]+(?:/versions/[0-9]+)?)/infer")
_LENGTH = re.compile(r"[0-9]{1,10}")
_SHAPE = re.compile(rb'"shape"\s*:\s*\[([^\]]*)')
# A string as a whole, or a bracket outside of one. Possessive, so that no text makes it look back.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


class Why(StrEnum):
    """Reasons to refuse a request, as they are counted."""

    ADDRESS = "address"
    BODY = "body"  # not what its headers say, or it cannot be sent on
    LATE = "late"
    TOO_LARGE = "too_large"
    JSON_LENGTH = "json_length"
    JSON_TOO_LARGE = "json_too_large"
    NOT_JSON = "not_json"
    NESTED = "nested"
    SHAPE = "shape"
    CLASSIFICATION = "classification"
    MEMORY = "memory"
    CONNECTIONS = "connections"
    AWAY = "triton_away"


BAD_REQUEST = 400
UNAVAILABLE = 503
STATUS = {
    Why.LATE: 408,
    Why.TOO_LARGE: 413,
    Why.JSON_TOO_LARGE: 413,
    Why.MEMORY: UNAVAILABLE,
    Why.CONNECTIONS: UNAVAILABLE,
    Why.AWAY: UNAVAILABLE,
}


class Refused(Exception):
    """A request that Triton does not get. `status` is HTTP's; the reason says what to do."""

    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.why = why
        self.status = STATUS.get(why, BAD_REQUEST)
        self.reason = reason


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its keys in order: of a key that comes twice Triton takes the first, Python the last."""


def json_part(path: str, lengths: list[str], parts: list[bytes], size: int) -> bytes:
    """What Triton reads as JSON of a body of `size` bytes, which came in parts; `lengths` are the values of the header that says where it ends.

    Raises `Refused` for a length that is none, and for JSON that is too large.
    """
    end = size
    if lengths and INFER.fullmatch(path):
        (length, *more) = lengths
        if more or not _LENGTH.fullmatch(length) or int(length) > size:
            raise Refused(
                Why.JSON_LENGTH,
                f"{HEADER_LENGTH} must be one number of bytes, at most the body's {size}: {', '.join(lengths)[:100]}",
            )
        end = int(length)
    if end > LARGEST_JSON:
        raise Refused(
            Why.JSON_TOO_LARGE,
            f"the JSON of the request has {end} bytes, the limit is {LARGEST_JSON}: send audio as binary data "
            f"({HEADER_LENGTH} says where it begins), and short ids",
        )
    head, number = parts[0], 1
    while len(head) < end:
        head += parts[number]
        number += 1
    return head[:end]


async def check_nesting(text: bytes) -> None:
    """Raise `Refused` for JSON that is nested deeper than any request needs. Long texts are looked at in turns."""
    if text.count(b"[") + text.count(b"{") <= DEEPEST:
        return
    depth = 0
    for number, token in enumerate(_TOKENS.finditer(text)):
        first = text[token.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise Refused(
                    Why.NESTED, f"the JSON of the request is nested deeper than {DEEPEST} levels: tensors need five"
                )
        elif first in b"]}":
            depth -= 1
        if number % TURN == TURN - 1:
            await asyncio.sleep(0)


def speaks_of_classes(message: bytes) -> bool:
    """Whether the word `classification` stands in a ModelInferRequest outside of its audio.

    To look through the audio too would cost as much as to copy it five times. Of the fields at the top those with the audio
    are passed over; a message that is not written as usual is looked through as a whole.
    """
    at, end = 0, len(message)
    for _ in range(USUAL_FIELDS):
        if at == end:
            return False
        tag, start = message[at], at + 1
        size = shift = 0
        while start < end and shift < 35:
            byte = message[start]
            size |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if byte < 0x80:
                break
        else:
            return CLASSIFICATION in message
        if tag & 0x87 != LENGTH_DELIMITED or start + size > end:
            return CLASSIFICATION in message
        if tag != RAW_INPUT and message.find(CLASSIFICATION, start, start + size) >= 0:
            return True
        at = start + size
    return CLASSIFICATION in message


def classified(text: bytes) -> list[str]:
    """Names of the outputs that the JSON of a request wants as classes. Raises `Refused` if that cannot be told."""
    if CLASSIFICATION not in text and ESCAPE not in text:
        return []
    asked = _read(text)
    return [
        str(name)
        for outputs in _values(asked, "outputs")
        for output in (outputs if isinstance(outputs, list) else [])
        if any(_values(parameters, "classification") for parameters in _values(output, "parameters"))
        for name in _values(output, "name")
    ]


def check_shapes(text: bytes, largest: int) -> None:
    """Raise `Refused` for a shape of more elements than a body of `largest` bytes can hold, or of less than none."""
    shapes: list[list[bytes] | list[Any]] = [found.group(1).split(b",") for found in _SHAPE.finditer(text)]
    if ESCAPE in text:
        shapes += [shape for shape in _everywhere(_read(text), "shape") if isinstance(shape, list)]
    for shape in shapes:
        try:
            sizes = [int(size) for size in shape]
        except (ValueError, TypeError, OverflowError):
            continue  # Triton takes whole numbers alone, and says so
        if any(size < 0 for size in sizes) or math.prod(sizes) > largest:
            shown = ", ".join(map(str, sizes))[:100]
            raise Refused(
                Why.SHAPE, f"the shape [{shown}] has more elements than the request has bytes, or less than none"
            )


def refuse_text(names: list[str], types: dict[str, str]) -> None:
    """Raise `Refused` if one of the outputs that are wanted as classes is text; `types` are the model's."""
    for name in names:
        if types.get(name) == "BYTES":
            raise Refused(
                Why.CLASSIFICATION,
                f"the output {name[:100]!r} is text and has no classes: ask for it without the parameter classification",
            )


def output_types(metadata: dict[str, Any]) -> dict[str, str]:
    """Types of a model's outputs by name, from its metadata."""
    return {output["name"]: output["datatype"] for output in metadata.get("outputs", [])}


def _read(text: bytes) -> Any:
    """JSON of a depth that was looked at. Names are ASCII, so bytes that are no UTF-8 matter to nobody here."""
    try:
        return json.loads(text.decode("latin-1"), object_pairs_hook=_Pairs, strict=False)
    except (ValueError, RecursionError) as error:
        raise Refused(Why.NOT_JSON, f"the request is not JSON: {error}") from None


def _everywhere(found: object, key: str) -> Iterator[Any]:
    """Values of a key at any level."""
    if isinstance(found, _Pairs):
        for name, value in found:
            if name == key:
                yield value
            yield from _everywhere(value, key)
    elif isinstance(found, list):
        for value in found:
            yield from _everywhere(value, key)


def _values(json_object: object, key: str) -> list[Any]:
    return list(_all(json_object, key)) if isinstance(json_object, _Pairs) else []


def _all(pairs: _Pairs, key: str) -> Iterator[Any]:
    return (value for name, value in pairs if name == key)
