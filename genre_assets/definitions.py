"""The only assembler: the stages in flow order, the jobs, and `defs`, which the code server loads.

An asset, check or sensor is written in its stage and added to that stage's list; nothing is added here.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

import dagster as dg

# Range runs over the genres are the one beta feature that is used (docs/decisions).
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from genre_assets.audio import assets as audio_assets  # noqa: E402
from genre_assets.audio import checks as audio_checks  # noqa: E402
from genre_assets.audio import sensors as audio_sensors  # noqa: E402
from genre_assets.models import assets as models_assets  # noqa: E402
from genre_assets.models import checks as models_checks  # noqa: E402
from genre_assets.models import sensors as models_sensors  # noqa: E402
from genre_assets.packaging import assets as packaging_assets  # noqa: E402
from genre_assets.packaging import checks as packaging_checks  # noqa: E402
from genre_assets.resources import END_MLFLOW_RUN, default_resources  # noqa: E402
from genre_assets.runs import automation, settings_digest  # noqa: E402  # after the filter, which the decorators need
from genre_assets.serving import alert_sensors, prune_sensors  # noqa: E402
from genre_assets.serving import assets as serving_assets  # noqa: E402
from genre_assets.serving import checks as serving_checks  # noqa: E402
from genre_assets.serving import sensors as serving_sensors  # noqa: E402
from genre_assets.settings import Settings, load_settings  # noqa: E402

# Group names sort in flow order, which is how the UI lists them.
STAGES: tuple[tuple[str, Sequence[Any]], ...] = (
    ("audio", audio_assets.ASSETS),
    ("models", models_assets.ASSETS),
    ("packaging", packaging_assets.ASSETS),
    ("serving", serving_assets.ASSETS),
)
CHECKS = [*audio_checks.CHECKS, *models_checks.CHECKS, *packaging_checks.CHECKS, *serving_checks.CHECKS]
SENSORS: Sequence[dg.SensorDefinition] = [
    *audio_sensors.SENSORS,
    *models_sensors.SENSORS,
    *serving_sensors.SENSORS,
    *prune_sensors.SENSORS,
    *alert_sensors.SENSORS,
]

# The daemon begins ticks every five seconds. Longer ones would leave less unseen between them, and keep a stack that is to stop, or
# to read new settings, waiting: with fourteen seconds `down` took a minute.
WATCH_SECONDS, WATCH_PAUSE, LONGEST_PAUSE = 4, 0.5, 2.0

# Jobs take a stage's assets from its list, so that none can be forgotten.
AUDIO, MODELS, PACKAGING = (
    dg.AssetSelection.assets(*(asset.key for asset in stage.ASSETS))
    for stage in (audio_assets, models_assets, packaging_assets)
)
LIVE = dg.AssetSelection.assets("live_ensemble")
RELEASE = dg.AssetSelection.assets("triton_repo") | LIVE


def whole_build(settings: Settings) -> Any:
    """The job `build`, which names the settings that its runs are made under."""
    return dg.define_asset_job(
        "build",
        AUDIO | MODELS | PACKAGING | LIVE,
        description="The whole flow, from the raw bucket to the live ensemble, in one run over all genres.",
        metadata={settings_digest.IN_METADATA: settings_digest.digest(settings)},
        hooks={END_MLFLOW_RUN},
    )


JOBS = [
    dg.define_asset_job(
        "ingest",
        AUDIO,
        description="Inventory and features of the genres whose objects changed.",
    ),
    dg.define_asset_job(
        "retrain",
        MODELS | RELEASE,
        description="From the features at hand to a live ensemble.",
        hooks={END_MLFLOW_RUN},
    ),
    dg.define_asset_job(
        "release",
        RELEASE,
        description="From the registry's champion and fallback, as they are, to a live ensemble.",
    ),
    dg.define_asset_job(
        "promote",
        LIVE,
        description="Switch the route of the live ensemble: champion or fallback. Fill in route and reason.",
        config=serving_assets.PROMOTE,
    ),
    dg.define_asset_job(
        "drift",
        # `drift_reports` reports its checks itself, with each window: a check planned for the run would hide them.
        dg.AssetSelection.assets("drift_reports").without_checks(),
        description="Evaluate the windows of answered requests that are full, and act on what is found.",
    ),
    dg.define_asset_job(
        "drift_page",
        dg.AssetSelection.assets("drift_pages"),
        description="Draw Evidently's page and the plots of the newest window, or of one that is named.",
    ),
    dg.define_asset_job(
        "batch",
        dg.AssetSelection.assets("batch_predictions"),
        description="Answers of the live ensemble to everything under a prefix of the raw or the clients' bucket.",
    ),
]


def build_defs(settings: Settings | None = None, resources: dict[str, Any] | None = None) -> dg.Definitions:
    """Definitions over the given settings; `resources` replaces defaults by name (tests hand over their own)."""
    settings = settings or load_settings()
    defaults, seconds = default_resources(settings), settings.sensor_interval_seconds
    assets = [asset for group, members in STAGES for asset in _completed(group, members, settings)]
    return dg.Definitions(
        assets=dg.with_source_code_references(assets),
        asset_checks=CHECKS,
        jobs=[whole_build(settings), *JOBS],
        sensors=[*(_every(seconds, sensor) for sensor in SENSORS), *automation.SENSORS],
        resources={**defaults, **(resources or {})},
        # One process for a run: a process for each step costs more than the steps (docs/decisions).
        executor=dg.in_process_executor,
    )


def _completed(group: str, members: Sequence[Any], settings: Settings) -> Sequence[Any]:
    """The assets of a stage with what their modules do not know: group, owners, and how fresh each must be."""
    fresh = automation.freshness(settings)

    def complete(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = fresh.get(spec.key.to_user_string())
        return spec.replace_attributes(group_name=group, owners=list(settings.owners), freshness_policy=policy)

    return dg.map_asset_specs(complete, members)


def _every(seconds: int, sensor: dg.SensorDefinition) -> dg.SensorDefinition:
    """The same sensor at another interval: its module cannot know the settings that `build_defs` is given.

    Dagster's own way of copying a sensor changes its jobs only, and makes a plain one of a run-status sensor.
    """
    made = copy(sensor)
    made._min_interval = seconds  # noqa: SLF001
    if sensor.name in serving_sensors.WATCHING:
        made._min_interval = max(1, seconds - WATCH_SECONDS)  # noqa: SLF001
        made._evaluation_fn = partial(_watch, sensor._evaluation_fn)  # noqa: SLF001
    return made


def _watch(look: Callable[..., Sequence[Any]], context: dg.SensorEvaluationContext) -> Sequence[Any]:
    """Look until there is a run to ask for, but no longer than `WATCH_SECONDS`; the tick says all that was found.

    A look that costs much is followed by a longer pause, so that looking takes a twentieth of a core at most. What counts is its
    work, not its time: on a busy machine a verdict must not wait for the daemon's next tick too.
    """
    end, said = time.monotonic() + WATCH_SECONDS, list[str]()
    while True:
        began = time.thread_time()
        found = look(context)
        pause = min(max(WATCH_PAUSE, 20 * (time.thread_time() - began)), LONGEST_PAUSE)
        if not all(isinstance(one, dg.SkipReason) for one in found):
            return found
        said += [one.skip_message for one in found if one.skip_message not in said]
        if time.monotonic() + pause > end:
            return [dg.SkipReason("; then: ".join(said))]
        time.sleep(pause)


defs = build_defs()
