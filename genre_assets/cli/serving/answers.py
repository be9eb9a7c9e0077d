"""What `predict` prints: a table for people at a terminal, a line of JSON for each item elsewhere."""

import json
import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import typer

from genre_assets.text import clock, visible

if TYPE_CHECKING:
    from genre_assets.triton.client.prediction import Prediction
    from genre_assets.triton.client.timeline import Timeline

MOST, LEAST = 40, 8  # characters of a file's name


class Answers:
    """Prints each answer as it comes.

    Parameters
    ----------
    paths : files and addresses that are asked about; their common folder is left out of the table.
    as_json : lines of JSON whatever standard output is.
    """

    def __init__(self, paths: Sequence[str], *, as_json: bool) -> None:
        self._as_json = as_json or not sys.stdout.isatty()
        self._folder = _common(paths)
        longest = max((len(visible(self._name(path))) for path in paths), default=LEAST)
        self._width = min(max(longest, LEAST), MOST)
        self._begun = False

    def add(self, path: str, answer: "Prediction") -> None:
        """Print one answer."""
        if self._as_json:
            typer.echo(json.dumps({"path": path, **answer.as_dict()}))
            return
        if not self._begun:
            typer.echo(self._row("file", "label", "sure", "second", "model"))
            self._begun = True
        typer.echo(self._answer(path, answer))
        if answer.timeline is not None:
            typer.echo(visible(table(answer.timeline)))

    def _answer(self, path: str, answer: "Prediction") -> str:
        name = self._name(path)
        if answer.error:
            return f"{_fit(visible(name), self._width)}  error: {visible(answer.error)}"
        ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
        second = f"{ranked[1][0]} {ranked[1][1]:.0%}" if len(ranked) > 1 else ""
        heard = "" if answer.heard is None or answer.heard.is_all else f"  {answer.heard}"
        model = f"{answer.model} version {answer.version}{heard}"
        return self._row(name, answer.label, f"{ranked[0][1]:.0%}", second, model)

    def _row(self, file: str, label: str, sure: str, second: str, model: str) -> str:
        cells = (_fit(visible(file), self._width), f"{visible(label):<12}", f"{sure:>4}", f"{visible(second):<16}")
        return "  ".join((*cells, visible(model)))

    def _name(self, path: str) -> str:
        return path.removeprefix(self._folder)


def table(timeline: "Timeline") -> str:
    """A line for each span, and what is to be said of them all."""
    if timeline.error:
        return f"  no timeline: {timeline.error}"
    whole = "unknown length" if timeline.of_s is None else clock(timeline.of_s)
    note = [f"  ends at {clock(timeline.heard_s)} of {whole}: {timeline.note}"] if timeline.note else []
    return "\n".join([*map(str, timeline.spans()), *note])


def _common(paths: Sequence[str]) -> str:
    """The folder that all are in, with a slash at its end; of a single one its own."""
    folders = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    same = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, folders)]
    return "/".join([*same, ""]) if same else ""


def _fit(text: str, width: int) -> str:
    """So many characters; of a longer text the end, which tells files apart."""
    return f"{text:<{width}}" if len(text) <= width else "…" + text[-(width - 1) :]
