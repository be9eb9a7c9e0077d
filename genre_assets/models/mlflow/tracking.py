"""MLflow's runs: one for each experiment, with its trials below it, its data, its papers and its model.

This module and `registry`, which builds on it, are the only ones that talk to MLflow. Jobs write to its database and
artifact store directly; the server beside them shows the same things to people.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from genre_assets.database import Database
from genre_assets.errors import TransientFailure
from genre_assets.models.mlflow.figures import parted
from genre_assets.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "genre_assets"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
DAGSTER_TAG = "dagster_run_id"
"""Set by dagster-mlflow: the Dagster run that a run stands for."""
CUT_TAG = "cut"
"""Of a run and its registered version: how the clips were cut."""


@dataclass(frozen=True)
class DataInput:
    """The data set of a run, as MLflow shows it: `profile` holds its counts, `columns` its features."""

    name: str
    digest: str
    source: str
    columns: Sequence[str]
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """A trial of a study, to be shown as a run below its experiment's."""

    number: int
    state: str
    score: float | None
    params: Mapping[str, Any]
    started: datetime | None
    ended: datetime | None


NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true"}


class Tracking:
    """Constructing it does no I/O; every method may raise `TransientFailure` when MLflow's store is away."""

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: str,
        *,
        database: Database,
        server_url: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` holds what MLflow's S3 client reads from the process environment (it takes no arguments)."""
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root
        self.database = database
        self.server_url = server_url
        self._environment = dict(environment or {})
        self._opened: MlflowClient | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The registry of the configured stack."""
        return cls(
            settings.mlflow_database_url.get_secret_value(),
            f"s3://{settings.mlflow_bucket}",
            database=Database(settings.database_url.get_secret_value()),
            server_url=settings.mlflow_link,
            environment={
                **({"MLFLOW_S3_ENDPOINT_URL": settings.s3_endpoint_url} if settings.s3_endpoint_url else {}),
                **({"AWS_ACCESS_KEY_ID": settings.s3_access_key} if settings.s3_access_key else {}),
                **({"AWS_SECRET_ACCESS_KEY": secret} if (secret := settings.s3_secret_key.get_secret_value()) else {}),
                "AWS_DEFAULT_REGION": settings.s3_region,
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            },
        )

    def prepare(self) -> str:
        """Make sure that the experiment is there, and that its store answers; returns the experiment's name."""
        with answering(self.tracking_uri):
            self._experiment()
        return EXPERIMENT

    def begin_run(self, key: str, tags: Mapping[str, str], parent: str | None = None, name: str = "") -> str:
        """A run for the work that `key` names: the one that an interrupted attempt left open, or a new one.

        People see it under `name`, or under the key without one.

        One that was interrupted after its parameters were logged is closed as failed: they cannot be logged again. The
        run is shown below `parent`, which the run of an interrupted attempt is moved to.
        """
        below = {PARENT_TAG: parent} if parent else {}
        with answering(self.tracking_uri):
            for left in self._runs(f"tags.key = '{key}' and attributes.status = 'RUNNING'"):
                if not left.data.params:
                    for tag, value in below.items():
                        self._client.set_tag(left.info.run_id, tag, value)
                    return str(left.info.run_id)
                self._client.set_terminated(left.info.run_id, status="FAILED")
            named = {**tags, **below, "key": key, "mlflow.runName": name or key}
            return str(self._client.create_run(self._experiment(), tags=named).info.run_id)

    def end_abandoned(self, is_over: Callable[[str], bool]) -> None:
        """End the runs that stand for Dagster runs (by id) that are over, and that nobody could end: killed ones."""
        with answering(self.tracking_uri):
            for left in self._runs(f"tags.{DAGSTER_TAG} LIKE '%' and attributes.status = 'RUNNING'"):
                if is_over(left.data.tags[DAGSTER_TAG]):
                    self._client.set_terminated(left.info.run_id, status="FAILED")

    def annotate(self, run_id: str, line: str, tags: Mapping[str, str]) -> None:
        """Add a line (Markdown) to a run's description, and tags. The same line is added once."""
        with answering(self.tracking_uri):
            note = self._client.get_run(run_id).data.tags.get(NOTE_TAG, "")
            if line not in note.splitlines():
                self._client.set_tag(run_id, NOTE_TAG, f"{note}\n{line}")
            for name, value in tags.items():
                self._client.set_tag(run_id, name, value)

    def end_run(self, run_id: str, *, failed: bool = False) -> None:
        """Close the run."""
        with answering(self.tracking_uri):
            self._client.set_terminated(run_id, status="FAILED" if failed else "FINISHED")

    def log(self, run_id: str, *, params: Mapping[str, Any], metrics: Mapping[str, float], note: str = "") -> None:
        """Parameters, metrics and the run's description (Markdown) in one call.

        The bounds of an interval (`<metric>_low`, `<metric>_high`) are a tag: as metrics each would fill a chart of its own.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        plain, intervals = parted(metrics)
        described = {**intervals, **({NOTE_TAG: note} if note else {})}
        with answering(self.tracking_uri):
            self._client.log_batch(
                run_id,
                metrics=[Metric(name, float(value), now, 0) for name, value in plain.items()],
                params=[Param(name, str(value)) for name, value in params.items()],
                tags=[RunTag(name, value) for name, value in described.items()],
            )

    def upload(self, run_id: str, folder: Path, to: str | None = None) -> None:
        """Upload every file of a local folder as artifacts of the run."""
        with answering(self.tracking_uri):
            self._client.log_artifacts(run_id, str(folder), to)

    def artifact(self, run_id: str, path: str, folder: Path) -> Path:
        """Download one artifact (a file or a folder) of a run."""
        folder.mkdir(parents=True, exist_ok=True)
        with answering(self.tracking_uri):
            return Path(self._client.download_artifacts(run_id, path, str(folder)))

    def run_link(self, run_id: str) -> str | None:
        """Address of the run in MLflow's UI."""
        if not self.server_url:
            return None
        with answering(self.tracking_uri):
            # Without the query MLflow's UI shows an experiment as one of language models.
            view = "workflowType=machine_learning"
            return f"{self.server_url}/#/experiments/{self._experiment()}/runs/{run_id}?{view}"

    def log_data(self, run_id: str, data: DataInput) -> None:
        """Say what the run was trained on."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = json.dumps({"mlflow_colspec": [{"type": "float", "name": c, "required": True} for c in data.columns]})
        described = Dataset(
            data.name, data.digest, "s3", json.dumps({"uri": data.source}), schema, json.dumps(data.profile)
        )
        tags = [InputTag("mlflow.data.context", "training")]
        with answering(self.tracking_uri):
            self._client.log_inputs(run_id, [DatasetInput(described, tags)])

    def log_trials(self, run_id: str, trials: Sequence[TrialRecord]) -> None:
        """A nested run for each trial; those that an interrupted attempt has logged are not logged twice.

        A pruned trial was ended as it should be: its run is no failed one, and its name and the tag `state` say it.
        """
        from mlflow.entities import Metric, Param

        with answering(self.tracking_uri):
            experiment = self._experiment()
            found = self._client.search_runs([experiment], f"tags.{PARENT_TAG} = '{run_id}'", max_results=10_000)
            known = {run.data.tags.get("trial") for run in found}
            for trial in trials:
                if str(trial.number) in known:
                    continue
                tags = {
                    PARENT_TAG: run_id,
                    "mlflow.runName": f"trial {trial.number}" + (", pruned" if trial.state == "PRUNED" else ""),
                    "trial": str(trial.number),
                    "state": trial.state.lower(),
                }
                ended = _milliseconds(trial.ended)
                made = self._client.create_run(experiment, start_time=_milliseconds(trial.started), tags=tags)
                metrics = [Metric("objective", trial.score, ended, 0)] if trial.score is not None else []
                params = [Param(name, str(value)) for name, value in trial.params.items()]
                self._client.log_batch(made.info.run_id, metrics=metrics, params=params)
                status = "FAILED" if trial.state == "FAIL" else "FINISHED"
                self._client.set_terminated(made.info.run_id, status=status, end_time=ended)

    @property
    def _client(self) -> "MlflowClient":
        if self._opened is None:
            import boto3
            from mlflow import MlflowClient

            _reach(self.tracking_uri)
            os.environ.update({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", **NO_TELEMETRY, **self._environment})
            # MLflow asks boto3's default session, which keeps the credentials it found first: those of the user's shell,
            # if another library (dagster-aws's compute logs) was quicker.
            boto3.setup_default_session()
            self._opened = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
        return self._opened

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=f"{self.artifact_root}/{EXPERIMENT}"))

    def _runs(self, query: str) -> "list[Run]":
        return list(self._client.search_runs([self._experiment()], query, max_results=100))


def _milliseconds(moment: datetime | None) -> int:
    return int((moment.timestamp() if moment else time.time()) * 1000)


def _away(uri: str, error: Exception) -> str:
    said = str(getattr(error, "orig", None) or error).strip()
    return f"MLflow's store does not answer ({_shown(uri)}: {said}); is it up? Try: genre-assets status"


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """MLflow's errors of a store that is away -> `TransientFailure`, with the address (never the password)."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (OperationalError, ConnectionError, Boto3Error, BotoCoreError) as error:
        raise TransientFailure(_away(uri, error)) from error
    except MlflowException as error:
        if error.error_code in {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"}:
            raise TransientFailure(_away(uri, error)) from error
        raise


def _reach(uri: str) -> None:
    """One quick connection: MLflow itself would try for more than a minute before it says that nobody is there."""
    from sqlalchemy import create_engine

    if uri.startswith("postgresql"):
        engine = create_engine(uri, connect_args={"connect_timeout": 5})
        engine.connect().close()
        engine.dispose()


def _shown(uri: str) -> str:
    from sqlalchemy.engine import make_url

    return uri if uri.startswith("http") else make_url(uri).render_as_string(hide_password=True)
