"""Every figure on record can be measured again by the command that stands beside it, and keeps to what it says."""

import ast
import functools
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import figures, modeltools
from benchmarks.figures import FOLDER
from benchmarks.run import modules
from genre_assets.models.data.training import Part
from genre_assets.models.onnx.graph import temper
from genre_assets.models.tuning import tune
from genre_assets.models.tuning.fit import fit_temperature


def test_every_figure_names_a_command_that_selects_its_benchmark_alone() -> None:
    found = figures.read()
    assert found
    for figure in found:
        command = re.fullmatch(r"python -m benchmarks\.run (\w+)", figure["command"])
        assert command is not None, figure
        assert modules([command[1]]) == [command[1]], figure


def test_every_figure_is_one_that_its_command_measures() -> None:
    """Its name is spelled in the module that the command runs: a figure of a benchmark that is gone is found here."""
    strangers = [
        figure["name"]
        for figure in figures.read()
        if not any(re.fullmatch(name, figure["name"]) for name in _names(figure["command"].split()[-1]))
    ]
    assert strangers == []
    assert not any(re.fullmatch(name, "models: the three studies") for name in _names("models_tuning"))


def test_every_benchmark_can_be_run() -> None:
    for name in modules([]):
        functions = {node.name for node in _source(name).body if isinstance(node, ast.FunctionDef)}
        assert "run" in functions, name


def test_every_benchmark_has_its_figures_on_record() -> None:
    """One that was never run to its end measures nothing that a page may quote."""
    on_record = {figure["command"].split()[-1] for figure in figures.read()}
    assert set(modules([])) <= on_record


def test_no_figure_stands_twice() -> None:
    names = [figure["name"] for figure in figures.read()]
    assert sorted(names) == sorted(set(names))


def test_a_figure_says_truly_whether_it_reaches_its_bar() -> None:
    for figure in figures.read():
        assert figure["holds"] is figures.holds(figure["value"], figure["bar"]), figure
        assert figure.get("low", figure["value"]) <= figure["value"] <= figure.get("high", figure["value"]), figure


@pytest.mark.parametrize(
    ("value", "bar", "holds"),
    [(2.0, ">= 2", True), (1.9, ">= 2", False), (1e-9, "<= 1e-08", True), (2.1, "<= 2", False), (0.5, "> 0.5", False),
     (1.0, "1", True), (0.999, "1", False), (7.0, "", True)],
)  # fmt: skip
def test_bars(value: float, bar: str, *, holds: bool) -> None:
    assert figures.holds(value, bar) is holds


def test_a_bar_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a bar is a number"):
        figures.holds(1.0, "good")


def test_the_record_is_a_line_a_figure() -> None:
    lines = figures.RESULTS.read_text().splitlines()
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == figures.read()


def test_every_model_of_the_benchmarks_is_calibrated_as_it_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vote too: a mean of calibrated models is less sure than it may be, until it has a temperature of its own."""
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 200)
    names = np.arange(600).astype(str)
    rows = Part(np.zeros((600, 1), np.float32), labels, names, names, 3)
    scores = [np.exp(1.5 * (np.eye(3)[labels] + random.standard_normal((600, 3)))) for _ in range(3)]
    raw = {f"family{i}": score / score.sum(axis=1, keepdims=True) for i, score in enumerate(scores)}
    families = {
        name: SimpleNamespace(name=name, fit=lambda *_, given=given: SimpleNamespace(probabilities=lambda _: given))
        for name, given in raw.items()
    }
    monkeypatch.setattr(modeltools, "FAMILIES", families)
    monkeypatch.setattr(tune, "search", lambda *_, **__: SimpleNamespace(params={}))
    monkeypatch.setattr(tune, "out_of_fold", lambda family, *_: raw[family.name])
    models = modeltools.tuned_models(rows, dict.fromkeys(raw, 1), storage_url="", name="")
    members = [temper(given, fit_temperature(given, rows)) for given in raw.values()]
    mean = np.mean(members, axis=0)
    assert fit_temperature(mean, rows) < 0.9
    for name, expected in zip(models, [*members, temper(mean, fit_temperature(mean, rows))], strict=True):
        assert models[name].out_of_fold == pytest.approx(expected), name
        assert models[name].answers(rows.features) == pytest.approx(expected), name


@functools.cache
def _source(module: str) -> ast.Module:
    return ast.parse((FOLDER / f"{module}.py").read_text())


@functools.cache
def _names(module: str) -> list[str]:
    """Every text of the module as a pattern: what is filled in stands for anything, and some of it must be spelled.

    The modules on serving put their stage before each name.
    """
    parts = [
        [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        if isinstance(node, ast.JoinedStr)
        else [node.value]
        for node in ast.walk(_source(module))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    stage = f"(?:{module.partition('_')[0]}: )?"
    return [
        stage + "".join(".+" if text is None else re.escape(str(text)) for text in texts)
        for texts in parts
        if sum(len(str(text)) for text in texts if text is not None) >= len(" / ours")
    ]
