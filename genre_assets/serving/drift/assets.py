"""The asset of drift. A script: what it does is in `window_store`, `judge`, `promotion` and `drift_pages`."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from genre_assets.database import Database
from genre_assets.serving import drift_pages, judge, labels, promotion, retraining_requests, window_store
from genre_assets.serving.drift import checks
from genre_assets.serving.drift.findings import Property
from genre_assets.serving.drift.windows import Rules
from genre_assets.serving.state import Rules as PromotionRules
from genre_assets.serving.window_store import Judgement
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dg.asset(
    deps=["served_requests"],
    check_specs=checks.SPECS,
    kinds={"postgres", "evidently"},
    owners=["team:ml-platform"],
    code_version="2",
)
def drift_reports(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    store: dg.ResourceParam[ObjectStore],
    database: dg.ResourceParam[Database],
) -> Iterator[dg.MaterializeResult[None]]:
    """Verdicts on windows of answered requests against the champion's training data, one row and report for each.

    Each window is one materialisation and one evaluation of every check. The verdicts are kept, a promotion is
    decided and the checks are told before Evidently's page is drawn: nobody waits for a page.
    """
    rules = PromotionRules.from_settings(settings)
    window_store.cut(database, Rules.from_settings(settings))
    judged = list(judge.judge_waiting(database, store, settings))
    standing, decision = promotion.advance(database, rules)
    retraining = retraining_requests.update(database, decision, rules)
    taken = labels.take_new(database, store, settings)
    labels.update_windows(database)
    for key, problem in taken.problems.items():
        context.log.warning(f"{key} is left out: {problem}")
    for window in judged:
        rows: dict[str, Any] = {"window": window.window.id, "rows": window.window.rows, "items": window.window.items}
        served = dg.AssetMaterialization("served_requests", "answered since the window before", rows)
        context.instance.report_runless_asset_event(served)
        context.log.info(f"window {window.window.id}: {window.level}: {window.reason}")
        drift_pages.write_json(store, settings, window)
    for window in judged[:-1]:
        _tell(context.instance, database, window)
    newest = judged[-1] if judged else next(iter(window_store.newest(database)), None)
    found: dict[str, Any] = {
        "windows": len(judged),
        "wanted_route": standing.wanted,
        "new_labels": taken.labels,
        "retraining_wanted": retraining.reason if retraining else "no",
        **(_facts(newest) if newest else {}),
    }
    if taken.left_out:
        rows_out = [dg.TableRecord({"file": key, "why": why}) for key, why in sorted(taken.left_out.items())[:50]]
        found["warning: label files left out"] = dg.MetadataValue.table(rows_out)
    if judged:
        page = f"s3://{settings.serving_bucket}/{drift_pages.report_key(judged[-1])}"
        found["report"] = dg.MetadataValue.path(page)
        try:
            plots = drift_pages.plots(database, store, settings, judged[-1])
            found |= {name: dg.MetadataValue.md(plot) for name, plot in plots.items()}
        except Exception:  # matplotlib raises what it likes, and the checks must be told
            context.log.exception(f"the plots of window {judged[-1].window.id} could not be made")
    results = [checks.result(evaluation) for evaluation in checks.evaluations(database, newest)]
    yield dg.MaterializeResult(metadata=found, check_results=results)
    if judged and (problem := drift_pages.write_page(database, store, settings, judged[-1])):
        context.log.error(f"the page of window {judged[-1].window.id} could not be made: {problem}")


def _tell(instance: dg.DagsterInstance, database: Database, judged: Judgement) -> None:
    """An earlier window that waited too: its materialisation and checks, as if its own run had told them."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization("drift_reports", judged.reason, metadata=_facts(judged))
    )
    for evaluation in checks.evaluations(database, judged):
        instance.report_runless_asset_event(evaluation)


def _facts(judged: Judgement) -> dict[str, Any]:
    """What people want to know of a window at once; every property's headline in a table."""
    window, drift = judged.window, judged.findings[Property.FEATURE_DRIFT]["values"]
    rows = [
        dg.TableRecord({"property": name, "level": finding["level"], "finding": finding["headline"]})
        for name, finding in judged.findings.items()
    ]
    return {
        "window": window.id,
        "level": str(judged.level),
        "reason": judged.reason,
        "items": window.items,
        "rows": window.rows,
        "route": window.epoch.route,
        "properties": dg.MetadataValue.table(rows),
        **{name: drift[name] for name in ("p_value", "drifted_features") if name in drift},
    }


ASSETS = [drift_reports]
