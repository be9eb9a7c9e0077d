"""What a row of the prediction log must be so that the table can hold it: mended where possible, else refused with a reason.

Rows come from files that anything may have damaged and hold texts that strangers chose, so nothing is believed of them.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from genre_assets.inference.request_log import COLUMNS, LONGEST_DAYS, REQUIRED, Row

LONGEST_TEXT = 1000  # characters; an address of S3 has at most 1,024 bytes, and a reason needs one line
SLACK_SECONDS = 86_400.0  # a row of tomorrow is a clock's affair; one of the day after is absurd
LARGEST_REAL, SMALLEST_REAL, LARGEST_INT = 3.4e38, 1.2e-38, 2**31 - 1
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL holds neither NUL nor half a surrogate pair


@dataclass(frozen=True)
class Refused:
    """A line of a segment that cannot be a row, and why."""

    line: str
    why: str


def clean_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text without what PostgreSQL cannot hold, cut to `longest` characters."""
    return _UNSTORABLE.sub("\ufffd", text[:longest])


def parsed(data: bytes, now: float, retention_days: int) -> Iterator[Row | Refused]:
    """The rows of a segment, cleaned, in order; lines that are none as `Refused`.

    A last line without its end is left out: its process was killed in writing it, before the item was answered.
    """
    lines = data.split(b"\n")
    for line in lines[:-1]:
        text = line.decode(errors="replace")
        try:
            row = Row(**_cleaned(_named(json.loads(line))))
            why = problem(row, now, retention_days)
        except (ValueError, TypeError, RecursionError) as error:
            yield Refused(text, f"not a row: {error}")
            continue
        yield Refused(text, why) if why else row


def _named(values: list[Any]) -> dict[str, Any]:
    """A line's values by their columns. One of an older release, which waited on disk for long, has fewer."""
    if not REQUIRED <= len(values) <= len(COLUMNS):
        raise ValueError(f"{len(values)} values for {len(COLUMNS)} columns")
    return dict(zip(COLUMNS, values, strict=False))


def _cleaned(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a row with storable texts, and numbers that `real` would round to zero as zero."""
    return {name: value if name == "ts" else _clean(value) for name, value in values.items()}


def problem(row: Row, now: float, retention_days: int) -> str:
    """Why the table cannot hold the row; empty if it can."""
    values = vars(row)
    for name, kind, holds, optional in _KINDS:
        if not (holds(value := values[name]) or (value is None and optional)):
            return f"{name} is no {kind} that the table holds"
    try:
        uuid.UUID(row.id)
    except ValueError:
        return "id is no UUID"
    if not now - min(retention_days, LONGEST_DAYS) * 86_400.0 - SLACK_SECONDS <= row.ts <= now + SLACK_SECONDS:
        return f"ts is {_shown(row.ts)}, outside of the days that are kept: is the clock right?"
    return ""


def _clean(value: Any) -> Any:
    kind = type(value)  # of what JSON makes, each exactly; a row has hundreds of numbers, so they are looked at once
    if kind is str:
        return clean_text(value)
    if kind is float:
        return 0.0 if abs(value) < SMALLEST_REAL else value
    if kind is list:
        return [(0.0 if abs(part) < SMALLEST_REAL else part) if type(part) is float else _clean(part) for part in value]
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_INT


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS and -LARGEST_REAL <= value <= LARGEST_REAL  # neither is so of a NaN


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _kind(annotation: Any) -> str:
    """The annotation as it is written: `str`, `list[float] | None`."""
    return annotation.__name__ if type(annotation) is type else str(annotation)


_NUMBERS = (float, int)  # bool is neither
_HOLDS = {"str": _is_text, "int": _is_int, "float": _is_number, "list[float]": _is_list}
_KINDS = [  # of every column its name, what it holds, who knows, and whether it may be empty; once, for rows are many
    (field.name, kind, _HOLDS[kind], bool(optional))
    for field in fields(Row)
    for kind, _, optional in [_kind(field.type).partition(" | ")]
]


def _shown(ts: float) -> str:
    try:
        return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return repr(ts)
