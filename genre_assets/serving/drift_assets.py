"""The assets of drift. Scripts: what they do is in `drift/` (`window_store`, `evaluate`, `pages`) and `promotion/`."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from genre_assets import keys
from genre_assets.checks import as_shown
from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.serving import drift_checks
from genre_assets.serving.drift import evaluate, pages, window_reports, window_store
from genre_assets.serving.drift.detection import Level
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.feedback import labels, training_clips
from genre_assets.serving.feedback.labels import Taken
from genre_assets.serving.feedback.training_clips import Brought
from genre_assets.serving.promotion import replica_state, retraining_requests, route_state
from genre_assets.serving.promotion.moves import Standing
from genre_assets.serving.promotion.policy import Decision
from genre_assets.serving.promotion.policy import Rules as PromotionRules
from genre_assets.settings import Settings
from genre_assets.store import LINK_LASTS, ObjectStore

SHOWN = 50  # rows of a table about labels
LATEST = 10  # rows of the log on the page of `served_requests`


SPEC = dg.AssetSpec(
    drift_checks.ASSET,
    deps=["served_requests"],
    kinds={"postgres"},
    code_version="3",
    skippable=True,
    description="""Verdicts on windows of answered requests against the champion's training data.

Each window is one materialisation and one evaluation of every check, reported in the order of the log, so that the newest
window's are the ones shown; a run without a new window reports nothing.""",
)


@dg.multi_asset(name="drift_reports", specs=[SPEC], check_specs=drift_checks.SPECS, can_subset=True)
def drift_reports(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> Iterator[dg.AssetObservation | dg.AssetCheckResult]:
    """Cut, evaluate, decide, report.

    Verdicts are kept and a promotion is decided before anything is reported: whatever ends this run then, the next one
    reports what is left. The job `drift` selects no check, for a check that is planned for a run hides what is reported
    beside it; a person who materialises the asset in the UI gets the newest window's checks once more.
    """
    standing, decision = decide(database, store, settings)
    taken = labels.take_new(database, store, settings)
    labels.update_windows(database)
    brought = training_clips.bring(database, store, settings)
    retraining = retraining_requests.open_request(database)  # with the clips that were brought just now
    windows = report(context.instance, database, store, settings)
    for window in windows:
        say = context.log.warning if window.level is Level.DETECTED else context.log.info
        say(f"window {window.window.id}: {window.level}: {window.reason}")
    for key, problem in taken.problems.items():
        context.log.warning(f"{key} is left out: {problem}")
    for reason, count in brought.reasons.items():
        context.log.warning(f"{count} labels bring no training data: {reason}")
    if brought.stopped:
        context.log.warning(f"labelled clips are copied by the next run: {brought.stopped}")
    if windows:
        context.instance.add_run_tags(context.run.run_id, _tags(windows[-1]))
    why = decision.reason if decision else "nothing is released yet"
    context.log.info(f"{len(windows)} windows; the wanted route is {standing.wanted}: {why}")
    if retraining:
        context.log.warning(f"training again is asked for: {retraining.said(settings.retrain_min_new_clips)}")
    if facts := _labels_facts(taken, brought):
        yield dg.AssetObservation(drift_checks.ASSET, "labels", facts)
    yield from drift_checks.results(context.selected_asset_check_keys, database)


def decide(
    database: Database, store: ObjectStore, settings: Settings, seconds: float = float("inf")
) -> tuple[Standing, Decision | None]:
    """Cut the windows that are full, evaluate those that wait, and open the move that the verdicts call for.

    After so many seconds no further window is begun. May be repeated, interrupted, and done by several at once: a window is
    cut and evaluated once, and one move is open at a time.
    """
    rules, end = PromotionRules.from_settings(settings), time.monotonic() + seconds
    window_store.cut(database, Rules.from_settings(settings))
    for _ in evaluate.evaluate_waiting(database, store, settings):
        if time.monotonic() > end:
            break
    fallback = replica_state.has_fallback(settings, database)
    standing, decision = route_state.advance(database, rules, fallback=fallback)
    retraining_requests.update(database, decision, rules)
    return standing, decision


def report(
    instance: dg.DagsterInstance, database: Database, store: ObjectStore, settings: Settings
) -> list[DriftResult]:
    """Report the evaluated windows that nobody has reported, each once and in order; what it was interrupted in is left."""
    with window_reports.reporting(database) as windows:
        for window in windows:
            pages.write_json(store, settings, window)
            _report(instance, database, store, settings, window)
            window_reports.keep_reported(database, window.window.id)
    return windows


def _labels_facts(taken: Taken, brought: Brought) -> dict[str, Any]:
    """What people want to know of the labels that came, and of those that bring nothing; empty when there is nothing to say."""
    files = [dg.TableRecord({"file": key, "why": why}) for key, why in sorted(taken.left_out.items())[:SHOWN]]
    unused = [
        dg.TableRecord({"request_id": one.request_id, "item": one.item, "label": one.label, "why": one.reason})
        for one in brought.unused[:SHOWN]
    ]
    conflicts = [
        dg.TableRecord({"request_id": clip.request_id, "item": clip.item, "labels": clip.said})
        for clip in brought.conflicts[:SHOWN]
    ]
    tables = {
        "warning: label files left out": files,
        "warning: labels without training data": unused,
        "warning: people disagree": conflicts,
    }
    done = {
        "clips_to_training_data": brought.copied,
        "copies_removed": brought.removed,
        "clips_there_already": brought.there,
    }
    counts = {"labels_without_training_data": len(brought.unused), "people_disagree": len(brought.conflicts)}
    if not (taken.labels or any(tables.values()) or any(done.values()) or brought.stopped):
        return {}
    shown: dict[str, Any] = {name: dg.MetadataValue.table(rows) for name, rows in tables.items() if rows}
    if brought.stopped:
        shown["warning: copying stopped, the next run goes on"] = brought.stopped
    return {"new_labels": taken.labels, **done, **counts, **shown}


def _report(
    instance: dg.DagsterInstance, database: Database, store: ObjectStore, settings: Settings, result: DriftResult
) -> None:
    """Report a window to Dagster: all alike and in order, since the page of the asset shows what was reported last."""
    window = result.window
    instance.report_runless_asset_event(
        dg.AssetMaterialization("served_requests", "answered since the window before", _answered(database, result))
    )
    said = f"{result.level}, {window.epoch.route}: {result.reason}"
    facts, tags = _facts(result, store, settings), _tags(result)
    instance.report_runless_asset_event(dg.AssetMaterialization(drift_checks.ASSET, said, facts, tags=tags))
    for evaluation in drift_checks.evaluations(database, result):
        instance.report_runless_asset_event(evaluation)


def _answered(database: Database, result: DriftResult) -> dict[str, Any]:
    """What the log holds of a window: how many rows, by label and error, and the newest of them."""
    window = result.window
    counts = request_log.counts(database, since=window.opened_at, until=window.closed_at)
    newest = request_log.newest(database, until=window.closed_at, limit=LATEST)
    return {
        "result": f"{window.rows} rows of {window.items} distinct items, answered by the {window.epoch.route}, "
        f"{window.opened_at:%Y-%m-%d %H:%M:%S} to {window.closed_at:%H:%M:%S} UTC.",
        "window": window.id,
        "rows": window.rows,
        "items": window.items,
        "answers": as_shown(counts),
        "newest rows": as_shown(newest),
    }


def _tags(result: DriftResult) -> Mapping[str, str]:
    """What a list of runs or events shows of a window."""
    return {
        "genre/window": result.window.id,
        "genre/level": str(result.level),
        "genre/route": result.window.epoch.route,
    }


def _facts(result: DriftResult, store: ObjectStore, settings: Settings) -> dict[str, Any]:
    """What people want to know of a window at once; every property's headline in a table."""
    window, drift = result.window, result.findings[Property.FEATURE_DRIFT].values
    rows = [
        dg.TableRecord({"property": name, "level": finding.level.value, "finding": finding.headline})
        for name, finding in result.findings.items()
    ]
    return {
        "result": f"{window.items} items of the {window.epoch.route}: {result.level}. {result.reason}",
        "window": window.id,
        "level": str(result.level),
        "reason": result.reason,
        "items": window.items,
        "rows": window.rows,
        "route": window.epoch.route,
        "properties": dg.MetadataValue.table(rows),
        **kept(store, settings, "numbers", keys.report(window.id, "json")),
        **{name: drift[name] for name in ("p_value", "drifted_features") if name in drift},
    }


class PageConfig(dg.Config):
    """Which window to draw."""

    window: str = Field(default="", description="Name of a window, as drift_reports shows it; empty: the newest.")


@dg.asset(deps=[drift_reports], kinds={"evidently"}, code_version="1", output_required=False)
def drift_pages(
    context: dg.AssetExecutionContext,
    config: PageConfig,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> Iterator[dg.MaterializeResult[None]]:
    """Evidently's page and the plots of a window, for people. Slow, and nobody waits for it."""
    result = window_store.by_id(database, config.window) if config.window else window_store.newest_one(database)
    if result is None or result.level is None:
        context.log.warning(f"there is no evaluated window {config.window}".rstrip())
        return
    drawn = pages.draw(database, store, settings, result)
    for problem in drawn.problems:
        context.log.error(f"window {result.window.id}: {problem}")
    plots = {name: dg.MetadataValue.md(plot) for name, plot in drawn.plots.items()}
    page = kept(store, settings, "report", drawn.key)
    context.instance.add_run_tags(context.run.run_id, _tags(result))
    yield dg.MaterializeResult(
        metadata={"result": f"{result.level}: {result.reason}", "window": result.window.id, **page, **plots}
    )


def kept(store: ObjectStore, settings: Settings, name: str, key: str) -> dict[str, Any]:
    """Where something is in the serving bucket: the key, which lasts, and an address that a browser opens for a while."""
    until = datetime.now(UTC) + LINK_LASTS
    return {
        name: dg.MetadataValue.path(f"s3://{settings.serving_bucket}/{key}"),
        f"{name}, in a browser": dg.MetadataValue.url(store.browser_link(settings.serving_bucket, key)),
        f"{name}, in a browser until": f"{until:%Y-%m-%d %H:%M} UTC (a link signed for 7 days; the key lasts)",
    }


ASSETS = [drift_reports, drift_pages]
