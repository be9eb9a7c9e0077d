"""The figures on record, `benchmarks/results.json`: their form, their bars, and how a page shows them."""

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"


class Result(TypedDict):
    """One measured figure: `bar` says what it must reach (empty: none), `holds` whether it does."""

    name: str
    value: float
    unit: str
    bar: str
    holds: bool
    command: str
    low: NotRequired[float]
    high: NotRequired[float]
    """Ends of its 95 % interval, where it has one."""


def figure(name: str, value: float, unit: str, bar: str = "", holds: bool = True) -> Result:
    """One line of the results; `bar` is what was promised, empty where nothing was. Its command is written by `run`."""
    return Result(name=name, value=value, unit=unit, bar=bar, holds=holds, command="")


_BARS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    ">=": (operator.ge, "at least"),
    "<=": (operator.le, "at most"),
    ">": (operator.gt, "above"),
    "": (operator.eq, "exactly"),
}
_BAR = re.compile(r"(>=|<=|>|) ?([\d.]+(?:e-?\d+)?)")


def holds(value: float, bar: str) -> bool:
    """Whether a figure reaches its bar. Raises `ValueError` for a bar that says nothing."""
    if not bar:
        return True
    compare, limit, _ = _bar(bar)
    return compare(value, limit)


def read() -> list[Result]:
    """All figures on record."""
    found: list[Result] = json.loads(RESULTS.read_text())
    return found


def write(results: Iterable[Result]) -> None:
    """A line a figure, so that a change of one is a change of one line."""
    lines = ",\n".join(json.dumps(result, ensure_ascii=False) for result in results)
    RESULTS.write_text(f"[\n{lines}\n]\n")


def shown(results: Mapping[str, Result], name: str, form: str) -> str:
    """A figure as a page shows it. Raises `KeyError` for one that is not on record.

    `form` is `bar`, `holds`, `command`, or a number's format of Python, where `.1%` writes a share as a percentage
    (`bar%` its bar); in square brackets the figure is shown with its interval.
    """
    if name not in results:
        raise KeyError(f"no figure is called {name!r} in {RESULTS.name}: measure it, or do not quote it")
    result = results[name]
    if form in ("bar", "bar%"):
        _, limit, words = _bar(result["bar"])
        return f"{words} {100 * limit:g} %" if form == "bar%" else f"{words} {limit:g}"
    if form == "holds":
        return "yes" if result["holds"] else "**no**"
    if form == "command":
        return f"`{result['command']}`"
    if form.startswith("["):
        low, high = (_number(end, form[1:-1]) for end in (result["low"], result["high"]))
        return f"{_number(result['value'], form[1:-1])} [{low}, {high}]"
    return _number(result["value"], form)


def _number(value: float, form: str) -> str:
    if form.endswith("%"):
        return f"{100 * value:{form[:-1] or '.0'}f} %"
    return format(value, form)


def _bar(bar: str) -> tuple[Callable[[float, float], bool], float, str]:
    found = _BAR.fullmatch(bar)
    if found is None:
        raise ValueError(f"a bar is a number after >=, <=, > or nothing, not {bar!r}")
    compare, words = _BARS[found[1]]
    return compare, float(found[2]), words
