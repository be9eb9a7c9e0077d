"""The graph as a whole: what is in it, in which group, after what, checked by what, launched by what.

The picture of record is `graph.json`; a wanted change of the graph is `python -m genre_assets_tests.test_definitions`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy
from dagster._core.instance.config import dagster_instance_config

from genre_assets.definitions import WATCH_SECONDS, build_defs
from genre_assets.errors import BadInput
from genre_assets.runs import automation
from genre_assets.serving.sensors import WATCHING
from genre_assets.settings import load_settings
from genre_assets.stack.orchestrate import JOBS

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
    owned = load_settings(owners="ann@example.org, team:radio")
    for node in build_defs(owned).resolve_asset_graph().asset_nodes:
        assert node.description, node.key
        assert set(node.owners) == {"ann@example.org", "team:radio"}, node.key
        assert node.kinds, node.key
        assert node.group_name != "default", node.key


def test_an_owner_that_dagster_would_refuse_is_refused_with_the_setting() -> None:
    with pytest.raises(BadInput, match="GENRE_OWNERS"):
        load_settings(owners="the radio people")


def test_what_grows_old_has_a_freshness_policy_and_the_daemon_looks() -> None:
    def windows(**settings: object) -> dict[str, tuple[float, float]]:
        nodes = build_defs(load_settings(**settings)).resolve_asset_graph().asset_nodes  # type: ignore[arg-type]
        found = {}
        for node in nodes:
            policy = node.freshness_policy
            if policy is not None:
                assert isinstance(policy, TimeWindowFreshnessPolicy)
                assert policy.warn_window
                ages = (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta())
                found[node.key.to_user_string()] = (ages[0].total_seconds(), ages[1].total_seconds())
        return found

    day = (86400, 2 * 86400)
    assert windows() == {"served_requests": day, "drift_reports": day}
    models = dict.fromkeys(("training_set", "champion_models"), (3600, 7200))
    assert windows(retrain_every_hours=1) == {"served_requests": day, "drift_reports": day, **models}
    config, _ = dagster_instance_config(str(Path(__file__).parents[1]))
    assert config["freshness"] == {"enabled": True}


def test_every_field_that_the_launchpad_shows_says_what_it_is_for() -> None:
    described: dict[str, str | None] = {}
    for job in build_defs(load_settings()).resolve_all_job_defs():
        schemas = {
            node.name: node.definition.config_schema
            for node in job.nodes
            if isinstance(node.definition, dg.OpDefinition)
        }
        schemas |= {name: made.config_schema for name, made in job.resource_defs.items() if name != "io_manager"}
        for name, schema in schemas.items():
            fields = getattr(schema.config_type, "fields", {}) if schema else {}
            described |= {f"{name}: {field}": one.description for field, one in fields.items()}
    assert {"live_ensemble: route", "batch_predictions: prefix", "drift_pages: window", "s3: endpoint_url"} <= set(
        described
    )
    assert [field for field, text in described.items() if not text] == []


def test_every_job_and_sensor_says_what_it_is_for() -> None:
    defs = build_defs(load_settings())
    said = {one.name: one.description for one in defs.sensors or [] if isinstance(one, dg.SensorDefinition)}
    assert said
    said |= {job.name: job.description for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert [name for name, description in said.items() if not description] == []


def test_groups_sort_in_flow_order() -> None:
    groups = [node["group"] for node in graph()["assets"].values()]
    assert sorted(set(groups)) == ["audio", "models", "packaging", "serving"]


def test_the_command_line_launches_the_jobs_of_the_ui() -> None:
    assert set(JOBS) <= set(graph()["jobs"])


def test_every_sensor_runs_from_the_start() -> None:
    for sensor in build_defs(load_settings()).sensors or []:
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING, sensor.name


def test_the_settings_given_rule_how_often_sensors_look(tmp_path: Path) -> None:
    """The definitions of another interval are beside those of the first; a sensor with one of its own keeps it.

    Those that look again within a tick take that time off, and leave a second.
    """
    own = {sensor.name: 10 for sensor in automation.SENSORS}
    for seconds in (7, 31):
        made = list(build_defs(load_settings(tmp_path, sensor_interval_seconds=seconds)).sensors or [])
        assert len(made) > len(own)
        for sensor in made:
            assert isinstance(sensor, dg.SensorDefinition)
            within = WATCH_SECONDS if sensor.name in WATCHING else 0
            assert sensor.minimum_interval_seconds == own.get(sensor.name, max(1, seconds - within)), sensor.name


def test_a_stage_is_imported_without_reading_any_setting() -> None:
    """Else two definitions in one process could not differ, and a bad setting would break an import."""
    code = (
        "import genre_assets.settings as s\n"
        "def fail(*_, **__): raise AssertionError('settings were read at import')\n"
        "s.load_settings = fail\n"
        "import genre_assets.runs.automation\n"
        "for stage in ('audio', 'models', 'packaging', 'serving'):\n"
        "    for part in ('assets', 'checks', 'sensors'):\n"
        "        try: __import__(f'genre_assets.{stage}.{part}')\n"
        "        except ModuleNotFoundError as error: assert (stage, part) == ('packaging', 'sensors'), error\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
