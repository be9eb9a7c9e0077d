"""The model registry over MLflow: versions, and the aliases `champion` and `fallback`, whose moves are audited.

One registered model, `genre_classifier`, has a version for each model of each family. Stages are not used.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genre_assets import audit
from genre_assets.errors import BadInput
from genre_assets.models.mlflow.figures import figures_of, parted
from genre_assets.models.mlflow.tracking import Tracking, answering
from genre_assets.models.onnx.portable import MANIFEST_FILE, MODEL_FILE, set_version
from genre_assets.steps import Step, reached

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

NAME = "genre_classifier"
MODEL_FOLDER = "model"
CONSIDERED = "considered"
DESCRIPTION = (
    "A version for each model of each family. The alias `champion` names the one that answers, `fallback` the one that stands in "
    "for it. Aliases are moved by the asset `champion_models` and by `genre-assets rollback`, which write down why "
    "(`genre-assets history`); the tag `considered` is the newest version that a choice has looked at."
)
NO_VERSION = "none"
"""Where an alias that names no version stands, in the audit table."""
Alias = Literal["champion", "fallback"]


@dataclass(frozen=True)
class RegisteredVersion:
    """One version in the registry, with what its run measured."""

    version: int
    run_id: str
    family: str
    data_version: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class ModelRegistry(Tracking):
    """Constructing it does no I/O; every method may raise `TransientFailure` when MLflow's store is away."""

    def register(self, run_id: str, tags: Mapping[str, str], description: str = "") -> RegisteredVersion:
        """Make the model that the run has uploaded a new version. A second call for the same run changes nothing."""
        with answering(self.tracking_uri):
            self._registered_model()
            reached(Step.REGISTER_UPLOAD)
            run = self._client.get_run(run_id)
            for found in self._client.search_model_versions(f"name = '{NAME}' and run_id = '{run_id}'"):
                self._link_to_model(run, found)
                return self._described(found)
            source = f"{run.info.artifact_uri}/{MODEL_FOLDER}"
            made = self._client.create_model_version(
                NAME, source, run_id, tags=dict(tags), description=description or None
            )
            reached(Step.REGISTER_VERSION)
            self._link_to_model(run, made)
            return self._described(made)

    def _link_to_model(self, run: "Run", version: "ModelVersion") -> None:
        """Let the page of the run's model lead to its version, as MLflow's server does for those who register through it."""
        said = json.dumps([{"name": NAME, "version": str(version.version)}])
        for one in run.outputs.model_outputs if run.outputs else []:
            self._client.set_logged_model_tags(one.model_id, {"mlflow.modelVersions": said})

    def log_model(
        self,
        run_id: str,
        name: str,
        folder: Path,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """Show the model of a run in the experiment's tab "Models", with its figures and files. Returns its id.

        `name` has none of the characters `/:.%"'`.
        """
        from mlflow.entities import LoggedModelOutput, Metric

        plain, intervals = parted(metrics)
        with answering(self.tracking_uri):
            model = str(
                self._client.create_logged_model(
                    self._experiment(), name, run_id, {**tags, **intervals},
                    {key: str(value) for key, value in params.items()}, model_type=name,
                ).model_id
            )  # fmt: skip
            now = int(time.time() * 1000)
            figures = [Metric(key, float(value), now, 0, model_id=model) for key, value in plain.items()]
            self._client.log_batch(run_id, metrics=figures)
            self._client.log_model_artifacts(model, str(folder))
            self._client.log_outputs(run_id, [LoggedModelOutput(model, 0)])
            self._client.finalize_logged_model(model, "READY")
        return model

    def version(self, which: "Alias | int") -> RegisteredVersion | None:
        """The version under an alias, or of a number; None when there is none."""
        from mlflow.exceptions import MlflowException

        with answering(self.tracking_uri):
            try:
                if isinstance(which, int):
                    return self._described(self._client.get_model_version(NAME, str(which)))
                return self._described(self._client.get_model_version_by_alias(NAME, which))
            except MlflowException as error:
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise

    def versions(self, **tags: str) -> list[RegisteredVersion]:
        """Every version that has these tags, newest first."""
        wanted = [f"name = '{NAME}'", *(f"tags.{name} = '{value}'" for name, value in tags.items())]
        with answering(self.tracking_uri):
            found = self._client.search_model_versions(" and ".join(wanted), max_results=1000)
            return sorted((self._described(v) for v in found), key=lambda v: -v.version)

    def download(self, version: int, folder: Path) -> Path:
        """Fetch `model.onnx` and `manifest.json` into `folder`, the version number written into the manifest."""
        found = self.version(version)
        if found is None:
            raise BadInput(f"{NAME} has no version {version}; genre-assets history shows which served when")
        with answering(self.tracking_uri):
            source = Path(self._client.download_artifacts(found.run_id, MODEL_FOLDER, str(_made(folder))))
        for name in (MODEL_FILE, MANIFEST_FILE):
            (source / name).replace(folder / name)
        set_version(folder, version)
        return folder

    def move(
        self, alias: Alias, version: int, *, actor: str, reason: str, evidence: Mapping[str, Any] | None = None
    ) -> bool:
        """Point the alias to the version, and write who did it and why. False when it is there already.

        The audit row is written first and committed after the move: a move that fails leaves no row. A process that
        is killed between the two leaves an alias without its row, which the next move writes before its own.
        """
        if self.version(version) is None:
            raise BadInput(f"{NAME} has no version {version}")
        return self._put(alias, str(version), actor, reason, evidence or {})

    def clear(self, alias: Alias, *, actor: str, reason: str, evidence: Mapping[str, Any] | None = None) -> bool:
        """Let the alias name no version, and write who did it and why, also when only the reason is another."""
        return self._put(alias, NO_VERSION, actor, reason, evidence or {})

    def _put(self, alias: Alias, wanted: str, actor: str, reason: str, evidence: Mapping[str, Any]) -> bool:
        before, last = self._alias(alias), self.last_move(alias)
        told = last.moved_to if last else None
        same_reason = wanted != NO_VERSION or (last is not None and last.reason == reason)
        if before == wanted and told == wanted and same_reason:
            return False
        with self.database.transaction() as cursor, answering(self.tracking_uri):

            def record(moved_from: str | None, moved_to: str, who: str, why: str) -> None:
                audit.record(
                    self.database,
                    alias,
                    moved_from=moved_from,
                    moved_to=moved_to,
                    actor=who,
                    reason=why,
                    evidence=dict(evidence),
                    cursor=cursor,
                )

            if before not in {told, wanted, NO_VERSION}:
                record(told, before, "registry", "found there: its move was interrupted, or made in MLflow")
            record(told if before in {wanted, NO_VERSION} else before, wanted, actor, reason)
            reached(Step.REGISTER_RECORD)
            if wanted != NO_VERSION:
                self._client.set_registered_model_alias(NAME, alias, wanted)
            elif before != NO_VERSION:
                self._client.delete_registered_model_alias(NAME, alias)
            reached(Step.REGISTER_ALIAS)
        reached(Step.REGISTER_COMMIT)
        return before != wanted

    def _alias(self, alias: Alias) -> str:
        found = self.version(alias)
        return str(found.version) if found else NO_VERSION

    def last_move(self, alias: Alias) -> audit.Move | None:
        """The newest row of the audit table on the alias."""
        moves = audit.history(self.database, limit=1, subject=alias)
        return moves[0] if moves else None

    def tag(self, version: RegisteredVersion, name: str, value: str) -> None:
        """Let a version carry what was found out about it later."""
        if version.tags.get(name) != value:
            with answering(self.tracking_uri):
                self._client.set_model_version_tag(NAME, str(version.version), name, value)

    def considered(self) -> int:
        """The newest version that a choice of champion has looked at (0: none yet)."""
        from mlflow.exceptions import MlflowException

        with answering(self.tracking_uri):
            try:
                return int(self._client.get_registered_model(NAME).tags.get(CONSIDERED, 0))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return 0
                raise

    def set_considered(self, version: int) -> None:
        """Remember that versions up to this one have been looked at."""
        with answering(self.tracking_uri):
            self._client.set_registered_model_tag(NAME, CONSIDERED, str(version))

    def _registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(NAME, description=DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _described(self, found: "ModelVersion") -> RegisteredVersion:
        tags = dict(found.tags)
        metrics = figures_of(self._client.get_run(found.run_id))
        return RegisteredVersion(
            int(found.version), found.run_id, tags.get("family", ""), tags.get("data_version", ""), metrics, tags
        )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
