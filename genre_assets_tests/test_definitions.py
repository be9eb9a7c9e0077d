"""The graph as a whole: what is in it, in which group, after what, checked by what, launched by what.

The picture of record is `graph.json`; a wanted change of the graph is `python -m genre_assets_tests.test_definitions`.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from genre_assets.definitions import build_defs
from genre_assets.orchestrate import JOBS
from genre_assets.settings import load_settings

SNAPSHOT = Path(__file__).with_name("graph.json")


def graph() -> dict[str, Any]:
    """Assets, checks, jobs and sensors by name."""
    defs = build_defs(load_settings())
    nodes = defs.resolve_asset_graph()
    assets = {
        node.key.to_user_string(): {
            "group": node.group_name,
            "after": sorted(key.to_user_string() for key in node.parent_keys),
            "checks": sorted(check.name for check in node.check_keys),
        }
        for node in nodes.asset_nodes
    }
    jobs = {
        job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        for job in defs.resolve_all_job_defs()
        if not job.name.startswith("__")
    }
    sensors = {
        sensor.name: sorted(target.job_name for target in sensor.targets)
        for sensor in (defs.sensors or [])
        if isinstance(sensor, dg.SensorDefinition)
    }
    return {"assets": assets, "jobs": jobs, "sensors": sensors}


def test_the_graph_is_the_one_on_record() -> None:
    assert graph() == json.loads(SNAPSHOT.read_text())


def test_every_asset_says_what_it_is_who_owns_it_and_what_it_is_made_of() -> None:
    for node in build_defs(load_settings()).resolve_asset_graph().asset_nodes:
        assert node.description, node.key
        assert node.owners, node.key
        assert node.kinds, node.key
        assert node.group_name != "default", node.key


def test_groups_sort_in_flow_order() -> None:
    groups = [node["group"] for node in graph()["assets"].values()]
    assert sorted(set(groups)) == ["audio", "models", "packaging", "serving"]


def test_the_command_line_launches_the_jobs_of_the_ui() -> None:
    assert set(JOBS) <= set(graph()["jobs"])


def test_every_sensor_runs_from_the_start() -> None:
    for sensor in build_defs(load_settings()).sensors or []:
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING, sensor.name


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(graph(), indent=1, sort_keys=True) + "\n")


def test_only_one_build_at_a_time_and_a_promotion_waits_for_none() -> None:
    nodes = build_defs(load_settings()).resolve_asset_graph().asset_nodes
    pools = {node.key.to_user_string(): set(node.pools or ()) for node in nodes}
    of_the_build = {name for name, found in pools.items() if found == {"build"}}
    assert {
        "training_set",
        "tuned_xgboost",
        "voting_model",
        "champion_models",
        "conda_pack",
        "triton_repo",
    } <= of_the_build
    assert not of_the_build & {"raw_audio", "features", "live_ensemble", "drift_reports"}
