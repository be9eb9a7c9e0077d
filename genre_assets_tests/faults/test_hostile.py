"""Hostile input through the server, in short; `make test-hostile` runs the long form, in which time is measured too."""

import json
from collections import Counter
from pathlib import Path

import pytest

from genre_assets_tests.faults.hostile import mutations, requests
from genre_assets_tests.faults.hostile.campaign import Campaign, Result
from genre_assets_tests.faults.hostile.report import passed, write
from genre_assets_tests.serving.live_stack import LiveStack

ITEMS = 1_800  # so that each kind of request is there
SEED = 7


@pytest.mark.stack
def test_no_hostile_item_or_request_ends_the_server_or_harms_another(live: LiveStack) -> None:
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    live.serve("champion")
    result = Campaign(live, SEED).run(ITEMS, quiet_seconds=4)
    assert (result.deaths, result.harmed, result.unanswered, result.rows_missing) == ([], [], 0, 0), result.outcomes
    assert result.items == ITEMS
    kinds = {kind for kind in result.outcomes if not kind.startswith("item: ")}
    assert kinds == {*requests.KINDS, *requests.HEAVY}
    assert {kind.removeprefix("item: ") for kind in result.outcomes} >= {*mutations.corpus(), "address"}
    for kind in (kind for kind in kinds if "ended Triton" in kind and "pieces" not in kind):  # those are mended
        assert {"400", "413", "INVALID_ARGUMENT"} & set(result.outcomes[kind]), f"none of {kind} was refused"


def test_a_campaign_passes_only_if_all_held(tmp_path: Path) -> None:
    good = {
        "seed": 1,
        "items": 10,
        "honest": 5,
        "quiet_p99": 0.01,
        "hostile_p99": 0.02,
        "outcomes": {"a": Counter({"400": 10})},
    }
    assert passed(Result(**good))  # type: ignore[arg-type]
    for bad in (
        {"deaths": ["door"]},
        {"harmed": ["x"]},
        {"unanswered": 1},
        {"rows_missing": 1},
        {"hostile_p99": 0.04},
        {"items": 0},
    ):
        result = Result(**{**good, **bad})  # type: ignore[arg-type]
        assert not passed(result)
        write(result, tmp_path / "page")
        assert "NOT passed" in (tmp_path / "page.md").read_text()
        assert json.loads((tmp_path / "page.json").read_text())["passed"] is False
