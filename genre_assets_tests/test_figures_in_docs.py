"""What the pages quote as measured is what is on record: `python -m benchmarks.docs` writes it, and nobody else."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import docs, figures
from benchmarks.figures import Result
from genre_assets_tests.faults.hostile.campaign import Result as Campaign
from genre_assets_tests.faults.hostile.report import markdown
from genre_assets_tests.faults.storm import report as storm

STATED = {
    "drift.md": ["24 h", "1 %", "5 points", "5 %", "20 %"],
    "features_equality.md": ["0.11"],
    "model_quality.md": ["95 %"],
    "models.md": ["0.3", "0.7", "95 %"],
    "operations.md": ["20 MB"],
    "reliability.md": ["20 s", "20 s", "15 s", "24.10", "60 s"],
    "scaling.md": [
        *("30 s", "1.3 MB", "1.3 KB", "1.3 GB", "2 MB", "1.5 MB", "130 GB", "190 MB", "150 MB", "1.3 TB", "1.9 GB"),
        *("1.5 GB", "130 TB", "190 GB", "150 GB", "60 s", "60 s", "190 MB", "1.5 GB"),
    ],
    "serving.md": ["1 MB", "256 MB", "3.11", "3.12", "1.26", "24.10", "3.11", "3.12", "2.51", "24.10"],
    "README.md": ["3.11", "3.13", "1 %"],
}
"""What else reads like a figure, in the order of the page: limits, promises, versions, arithmetic. Nothing measured."""
HOSTILE = docs.ROOT / "docs" / "reliability_hostile.md"
FAULTS = docs.ROOT / "docs" / "reliability_faults.md"
PAGE = """Some text.

<!-- figures
| step | {step; .1f} ms | {step; bar} |
-->
| step | 3.9 ms | at most 4 |
<!-- end -->

Read on.
"""
RECORD: dict[str, Result] = {
    "step": {
        "name": "step", "value": 3.9, "unit": "ms", "bar": "<= 4", "holds": True, "command": "python -m x", "low": 3, "high": 5
    },
    "share": {"name": "share", "value": 0.0138, "unit": "share", "bar": ">= 0.95", "holds": False, "command": ""},
}  # fmt: skip


def record() -> dict[str, Result]:
    return {result["name"]: result for result in figures.read()}


@pytest.mark.parametrize("page", docs.with_templates(), ids=lambda page: page.name)
def test_a_page_quotes_what_is_on_record(page: Path) -> None:
    assert page.read_text() == docs.written(page.read_text(), record()), "run: python -m benchmarks.docs"


@pytest.mark.parametrize(
    "page", [page for page in docs.pages() if page not in {HOSTILE, FAULTS}], ids=lambda page: page.name
)
def test_no_figure_stands_outside_of_what_is_written_from_the_record(page: Path) -> None:
    assert docs.outside(page.read_text()) == STATED.get(page.name, []), (
        "a measured figure belongs into results.json and a template (benchmarks/docs.py); anything else into STATED"
    )


def test_the_page_of_the_hostile_campaign_is_that_of_its_result() -> None:
    content = json.loads(HOSTILE.with_suffix(".json").read_text())
    del content["ratio"], content["passed"]
    outcomes = {kind: Counter(counts) for kind, counts in content.pop("outcomes").items()}
    assert HOSTILE.read_text() == markdown(Campaign(**content, outcomes=outcomes))


def test_the_page_of_the_storm_is_that_of_its_result() -> None:
    stored = storm.read(FAULTS.with_suffix(""))
    assert stored is not None
    assert FAULTS.read_text() == storm.markdown(stored)


def test_a_figure_changed_by_hand_is_written_over() -> None:
    assert docs.written(PAGE, RECORD) == PAGE
    assert docs.written(PAGE.replace("3.9", "3.1"), RECORD) == PAGE
    assert docs.written(PAGE.replace("at most 4", "at most 9"), RECORD) == PAGE


def test_a_figure_that_is_not_on_record_cannot_be_quoted() -> None:
    with pytest.raises(KeyError, match="no figure is called 'stop'"):
        docs.written(PAGE.replace("{step; bar}", "{stop; bar}"), RECORD)


def test_a_template_with_a_slip_is_found() -> None:
    with pytest.raises(ValueError, match="not a figure and its form"):
        docs.written(PAGE.replace("{step; bar}", "{step: bar}"), RECORD)
    with pytest.raises(ValueError, match="has no end"):
        docs.written(PAGE.replace("<!-- end -->", ""), RECORD)


@pytest.mark.parametrize(
    ("typed", "found"),
    [("Read on. It takes 12 ms.", ["12 ms"]), ("It is 1.6 times faster", ["1.6 times"]), ("A share of 0.62.", ["0.62"]),
     ("| a | 45 % |", ["45 %"]), ("`12 ms` and [12 ms](x.md#12-ms)", ["12 ms"]), ("Python has 57 columns", []),
     ("## Measured\n\nOn 94 clips\n\n## Next\n\nOn 95 clips", ["94"]), ("at 127.0.0.1:8400", [])],
)  # fmt: skip
def test_a_figure_typed_into_the_text_is_found(typed: str, found: list[str]) -> None:
    assert docs.outside(PAGE.replace("Read on.", typed)) == found


@pytest.mark.parametrize(
    ("name", "form", "shown"),
    [("step", ".2f", "3.90"), ("step", "[.1f]", "3.9 [3.0, 5.0]"), ("step", "holds", "yes"), ("step", "command", "`python -m x`"),
     ("share", ".1%", "1.4 %"), ("share", "%", "1 %"), ("share", "bar", "at least 0.95"), ("share", "bar%", "at least 95 %"),
     ("share", "holds", "**no**")],
)  # fmt: skip
def test_forms(name: str, form: str, shown: str) -> None:
    assert figures.shown(RECORD, name, form) == shown
