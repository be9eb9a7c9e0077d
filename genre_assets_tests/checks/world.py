"""What the checks look at, and how one of them is asked: by itself, in a run of Dagster's, as in the UI."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.definitions import build_defs
from genre_assets.models.mlflow.registry import RegisteredVersion
from genre_assets.serving.drift_checks import ASSET as DRIFT_REPORTS
from genre_assets.settings import Settings
from genre_assets.stack.services.s3 import CANARY
from genre_assets.store import ObjectStore

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dataclass
class Registry:
    """The part of the model registry that checks read."""

    aliases: dict[str, RegisteredVersion] = field(default_factory=dict)

    def version(self, alias: str) -> RegisteredVersion | None:
        return self.aliases.get(alias)

    def last_move(self, alias: str) -> audit.Move | None:
        return None


@dataclass
class Triton:
    """A server's configuration: model -> its parameters."""

    loaded: dict[str, dict[str, str]] = field(default_factory=dict)

    def parameters(self, model: str) -> dict[str, str]:
        return self.loaded.get(model, {})

    def route(self) -> str | None:
        return self.parameters("predictor").get("route")

    def ready(self) -> bool:
        return bool(self.loaded)


@dataclass(frozen=True)
class Asked:
    """What a check said, and whether its run went on."""

    said: dg.AssetCheckEvaluation
    run_succeeded: bool


@dataclass
class World:
    """Everything that a check may be given, on an instance of its own."""

    settings: Settings
    store: ObjectStore
    database: Database
    folder: Path
    instance: dg.DagsterInstance
    patch: pytest.MonkeyPatch
    registry: Registry = field(default_factory=Registry)
    triton: Triton = field(default_factory=Triton)

    def ask(self, key: dg.AssetCheckKey) -> Asked:
        """Run the check. Those of drift_reports are reported by the job `drift`, with each window."""
        job = "drift"
        definitions = build_defs(self.settings, self._resources())
        if key.asset_key != DRIFT_REPORTS:
            job = "ask"
            asking = dg.define_asset_job(job, dg.AssetSelection.checks(key))
            definitions = dg.Definitions.merge(definitions, dg.Definitions(jobs=[asking]))
        done = definitions.resolve_job_def(job).execute_in_process(instance=self.instance, raise_on_error=False)
        (record,) = self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        assert record.evaluation is not None, "the check itself failed"
        return Asked(record.evaluation, done.success)

    def kept(self) -> set[tuple[str, str, str]]:
        """Every object in the store and every file of the state folder, with what tells a changed one."""
        names = ("raw_bucket", "features_bucket", "mlflow_bucket", "serving_bucket")
        buckets = [getattr(self.settings, name) for name in names]
        listed = [(bucket, entry) for bucket in buckets for entry in self.store.list(bucket) if entry.key != CANARY]
        objects = {(bucket, entry.key, f"{entry.etag} {entry.last_modified}") for bucket, entry in listed}
        files = {("home", str(p), str(p.lstat().st_mtime_ns)) for p in self.settings.home.rglob("*")}
        return objects | files

    def _resources(self) -> dict[str, Any]:
        given = {
            "settings": self.settings, "store": self.store, "database": self.database,
            "registry": self.registry, "triton": self.triton,
        }  # fmt: skip
        return {name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in given.items()}


@dataclass(frozen=True)
class Case:
    """Data on which a check passes, and what is done to them that it must not let pass."""

    check: str  # asset:check
    sound: Callable[[World], object]
    spoil: Callable[[World], object]
    says: str  # regular expression of the description
    severity: dg.AssetCheckSeverity = ERROR
    stops: bool = False  # whether it is blocking: nothing downstream is made in that run

    @property
    def only_looks(self) -> bool:
        """Whether the check is one: those of drift_reports are told by the job that judges, which keeps what it finds."""
        return self.key.asset_key != DRIFT_REPORTS

    @property
    def key(self) -> dg.AssetCheckKey:
        asset, _, name = self.check.partition(":")
        return dg.AssetCheckKey(dg.AssetKey(asset), name)
