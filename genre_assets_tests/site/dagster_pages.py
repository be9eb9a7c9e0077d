"""Assets, checks, jobs and sensors, as Dagster is told of them."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from genre_assets.definitions import build_defs
from genre_assets.settings import load_settings
from genre_assets_tests.site.markdown import code, page, sentence, table


def _names(names: Iterable[str]) -> str:
    return ", ".join(code(name) for name in sorted(names))


def _jobs(defs: dg.Definitions) -> list[dg.JobDefinition]:
    return [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]


def assets_page() -> str:
    """Each asset with what it is made of and its checks, by group."""
    defs = build_defs(load_settings())
    graph = defs.resolve_asset_graph()
    jobs = {job.name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys} for job in _jobs(defs)}
    parts: dict[str, list[str]] = {}
    for node in sorted(graph.asset_nodes, key=lambda node: node.key.to_user_string()):
        name = node.key.to_user_string()
        facts = [
            ("Made of", _names(key.to_user_string() for key in node.parent_keys) or "nothing of the graph"),
            ("Kinds", ", ".join(sorted(node.kinds))),
            ("Partitions", "one for each label" if node.partitions_def else "none"),
            ("Jobs", _names(job for job, made in jobs.items() if name in made) or "none: it is reported"),
        ]
        lines = [f"### {code(name)}\n", f"{sentence(node.description)}\n", table(("Fact", ""), facts)]
        checks = [(key.name, graph.get(key)) for key in sorted(node.check_keys, key=lambda key: key.name)]
        if checks:
            rows = [
                (code(check), sentence(_about(found)), "yes" if found.blocking else "no") for check, found in checks
            ]
            lines.append(table(("Check", "Passes when", "Blocks"), rows))
        parts.setdefault(str(node.group_name), []).append("\n".join(lines))
    return page(
        "Assets and checks",
        "The groups are in the order of the flow. A check that blocks stops what comes after it in the same run.",
        *(f"## {group}\n\n" + "\n".join(parts[group]) for group in sorted(parts)),
    )


def _about(check: Any) -> str:
    return str(getattr(check, "description", None) or check._spec.description or "")


def jobs_page() -> str:
    """Jobs with their configuration, sensors with what they ask for."""
    defs = build_defs(load_settings())
    jobs = [
        (
            code(job.name),
            sentence(job.description),
            _names(key.to_user_string() for key in job.asset_layer.selected_asset_keys),
        )
        for job in sorted(_jobs(defs), key=lambda job: job.name)
    ]
    sensors = [
        (
            code(sensor.name),
            sentence(sensor.description),
            _names(target.job_name for target in sensor.targets) or "nothing",
        )
        for sensor in sorted(defs.sensors or [], key=lambda sensor: sensor.name)
        if isinstance(sensor, dg.SensorDefinition)
    ]
    return page(
        "Jobs and sensors",
        "A job is launched in the UI, by a sensor, or by `genre-assets run JOB`. All three launch the same.",
        "## Jobs\n\n" + table(("Job", "When to use it", "What it makes"), jobs),
        "## Sensors\n\nAll of them run from the start; `GENRE_SENSOR_INTERVAL_SECONDS` is how often most of them look. There are no schedules.\n\n"
        + table(("Sensor", "What it does", "Jobs that it asks for"), sensors),
    )
