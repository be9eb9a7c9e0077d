"""Runs under fire: two builds at once, and the code server killed with the process of a run."""

import time

import pytest

from genre_assets.errors import TransientFailure
from genre_assets.genres import GENRES
from genre_assets.stack.orchestrate import over_all
from genre_assets.stack.services import graphql
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]
LONGEST = 120.0  # seconds that a run may be in progress without a process


def test_a_run_whose_process_is_gone_ends_and_the_next_one_gets_its_place(stack: Stack) -> None:
    """Two builds at once: one goes on, the other waits; and when the first is killed, the second does the work."""
    url = stack.settings.dagster_url
    first, second = (graphql.launch(url, "build", tags=over_all(GENRES)) for _ in range(2))
    runs = (first, second)

    def statuses() -> list[str]:
        return [graphql.progress(url, run).status for run in runs]

    until(lambda: "STARTED" in statuses(), "one of the builds goes on", 120)
    at_work, waiting = sorted(runs, key=lambda run: graphql.progress(url, run).status != "STARTED")
    until(lambda: graphql.progress(url, at_work).started != [], "it does something", 60)
    assert graphql.progress(url, waiting).status in {"QUEUED", "NOT_STARTED"}
    stack.kill("dagster-code")
    began = time.monotonic()
    until(lambda: _ended(url, at_work) == "FAILURE", "the run without a process is ended", LONGEST)
    print(f"ended after {time.monotonic() - began:.0f} s")
    until(lambda: _ended(url, waiting) is not None, "the other build has its turn", 600)
    assert _ended(url, waiting) == "SUCCESS", graphql.progress(url, waiting).failures


def _ended(url: str, run: str) -> str | None:
    """How the run ended; None while it has not, or while the webserver is without its code server."""
    try:
        status = graphql.progress(url, run).status
    except TransientFailure:
        return None
    return status if status in graphql.FINISHED else None
