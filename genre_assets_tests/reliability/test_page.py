"""The pages say what is so: every row is shown by a test that is there, and the generated parts are those of today."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from genre_assets_tests.faults.storm.report import Outcome, Result, write
from genre_assets_tests.reliability.page import DOCS, PAGES, missing_tests, written
from genre_assets_tests.reliability.row import Row
from genre_assets_tests.reliability.rows import ROWS
from genre_assets_tests.reliability.rows_of_security import ATTACKS


def test_every_row_names_tests_that_are_there() -> None:
    assert all(row.tests for row in (*ROWS, *ATTACKS))
    assert missing_tests() == []
    assert missing_tests([Row("a", "b", "c", ("test_text.py::test_nothing", "no.py::test_text"))]) == [
        "no.py::test_text",
        "test_text.py::test_nothing",
    ]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_as_it_is_written(page: str) -> None:
    assert (DOCS / page).read_text() == written(page), "run: python -m genre_assets_tests.reliability"


def test_the_storms_figures_come_from_its_result(tmp_path: Path) -> None:
    outcomes = [Outcome(1, "s3 SIGKILL", 4.0, "s3 unhealthy", True, 2), Outcome(2, "s3 SIGKILL", 8.0, "", True, 0)]
    result = Result(7, 3.2, outcomes, lost=0, doubled=0, finished=True)
    write(result, tmp_path / "reliability_faults")
    page = written("reliability.md", tmp_path)
    assert "KILLS=2 SEED=7`: 2 faults in 3 minutes, passed. Rows of answered items lost: 0, doubled: 0." in page
    assert "| s3 SIGKILL | 2 | 2 | 1 | 6.0 | 8.0 | 2 |" in page
    broken = {
        **asdict(result),
        "passed": False,
        "table": json.loads((tmp_path / "reliability_faults.json").read_text())["table"],
    }
    (tmp_path / "reliability_faults.json").write_text(json.dumps(broken))
    assert "NOT passed" in written("reliability.md", tmp_path)  # fmt: skip
