"""The registry: versions, aliases and their audit, over files and over the real services."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput, TransientFailure
from genre_assets.models.mlflow.registry import ModelRegistry, RegisteredVersion
from genre_assets.models.onnx.portable import MANIFEST_FILE, read_manifest
from genre_assets.settings import Settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.store import ObjectStore
from genre_assets_tests.live import FOREIGN
from genre_assets_tests.models.onnx.test_portable import write_softmax_model


def register(
    registry: ModelRegistry, folder: Path, *, key: str = "k", family: str = "xgboost", cut: str = "whole"
) -> RegisteredVersion:
    """A registered toy model."""
    run_id = registry.begin_run(key, {"family": family})
    write_softmax_model(folder / key)
    registry.log(run_id, params={"depth": 3}, metrics={"cross_validation_g_mean": 0.5})
    registry.upload(run_id, folder / key, "model")
    version = registry.register(run_id, {"family": family, "data_version": "d", "key": key, "cut": cut})
    registry.end_run(run_id)
    return version


def test_a_registered_model_comes_back_with_its_number_and_figures(registry: ModelRegistry, tmp_path: Path) -> None:
    made = register(registry, tmp_path)
    assert (made.version, made.family, made.metrics["cross_validation_g_mean"]) == (1, "xgboost", 0.5)
    folder = registry.download(1, tmp_path / "download")
    assert read_manifest(folder).version == 1
    assert {p.name for p in folder.iterdir()} >= {"model.onnx", MANIFEST_FILE}


def test_registering_the_same_run_twice_makes_one_version(registry: ModelRegistry, tmp_path: Path) -> None:
    made = register(registry, tmp_path)
    again = registry.register(made.run_id, {"family": "xgboost", "data_version": "d", "key": "k"})
    assert again == made
    assert len(registry.versions()) == 1


def test_versions_are_found_by_tag_newest_first(registry: ModelRegistry, tmp_path: Path) -> None:
    register(registry, tmp_path, key="a")
    register(registry, tmp_path, key="b")
    assert [v.version for v in registry.versions(data_version="d")] == [2, 1]
    assert [v.version for v in registry.versions(key="a")] == [1]
    assert registry.versions(key="c") == []


def test_a_run_that_was_interrupted_is_taken_up_again(registry: ModelRegistry) -> None:
    first = registry.begin_run("k", {})
    assert registry.begin_run("k", {}) == first
    registry.end_run(first, failed=True)
    assert registry.begin_run("k", {}) != first


def test_a_run_that_was_interrupted_after_its_parameters_is_closed_and_another_begun(registry: ModelRegistry) -> None:
    first = registry.begin_run("k", {})
    registry.log(first, params={"depth": 3}, metrics={})
    second = registry.begin_run("k", {})
    assert second != first
    assert registry._client.get_run(first).info.status == "FAILED"
    registry.log(second, params={"depth": 4}, metrics={})


def test_there_is_no_champion_before_the_first_move(registry: ModelRegistry) -> None:
    assert registry.version("champion") is None
    assert registry.version(7) is None
    assert registry.considered() == 0


def test_every_move_of_an_alias_is_audited_with_its_reason(
    registry: ModelRegistry, database: Database, tmp_path: Path
) -> None:
    register(registry, tmp_path, key="a")
    register(registry, tmp_path, key="b")
    assert registry.move("champion", 1, actor="ada", reason="the first", evidence={"g_mean": 0.7})
    assert registry.move("champion", 2, actor="ada", reason="better")
    champion = registry.version("champion")
    assert champion is not None
    assert champion.version == 2
    newest, oldest = audit.history(database)
    assert (newest.moved_from, newest.moved_to, newest.actor, newest.reason) == ("1", "2", "ada", "better")
    assert (oldest.moved_from, oldest.evidence) == (None, {"g_mean": 0.7})


def test_moving_to_where_the_alias_is_already_writes_nothing(
    registry: ModelRegistry, database: Database, tmp_path: Path
) -> None:
    register(registry, tmp_path)
    registry.move("champion", 1, actor="a", reason="r")
    assert not registry.move("champion", 1, actor="a", reason="r")
    assert len(audit.history(database)) == 1


def test_a_move_that_fails_leaves_no_audit_row(
    registry: ModelRegistry, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry, tmp_path)

    def refuse(*_: object) -> None:
        raise ConnectionError("away")

    monkeypatch.setattr(registry._client, "set_registered_model_alias", refuse)
    with pytest.raises(TransientFailure, match="does not answer"):
        registry.move("champion", 1, actor="a", reason="r")
    assert audit.history(database) == []


def test_moving_to_a_version_that_is_not_there_is_refused(registry: ModelRegistry) -> None:
    with pytest.raises(BadInput, match="no version 5"):
        registry.move("champion", 5, actor="a", reason="r")


def test_a_registry_that_is_down_says_so_without_its_password(database: Database) -> None:
    uri = "postgresql+psycopg2://genre:topsecret@127.0.0.1:1/mlflow"
    with pytest.raises(TransientFailure, match="does not answer") as caught:
        ModelRegistry(uri, "file:///tmp", database=database).versions()
    assert "topsecret" not in str(caught.value)


def test_the_configured_registry_works_over_postgres_and_s3(
    postgres: Postgres, database: Database, s3_settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    uri = database.url.replace("postgresql://", "postgresql+psycopg2://")
    settings = s3_settings.model_copy(
        update={"mlflow_database_url": SecretStr(uri), "database_url": SecretStr(database.url)}
    )
    registry = ModelRegistry.from_settings(settings)
    register(registry, tmp_path)
    registry.move("champion", 1, actor="a", reason="r")
    assert any(o.key.endswith("model.onnx") for o in store.list(settings.mlflow_bucket))
    assert read_manifest(registry.download(1, tmp_path / "download")).version == 1


def test_credentials_of_the_users_shell_are_not_those_of_the_artifacts(
    s3_settings: Settings, empty_mlflow: Path, store: ObjectStore, tmp_path: Path
) -> None:
    """They are in the environment of every process, and another library may have asked boto3 for them before.

    In a process of its own: boto3's default session and MLflow's client are those of the whole process.
    """
    code = """
import sys, boto3
from genre_assets.database import Database
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.settings import load_settings
from pathlib import Path
uri, endpoint, secret, folder = sys.argv[1:]
assert boto3.client("s3", region_name="us-east-1") and boto3.DEFAULT_SESSION.get_credentials().secret_key == "elsewhere"
settings = load_settings(Path(folder), mlflow_database_url=uri, s3_endpoint_url=endpoint, s3_secret_key=secret)
registry = ModelRegistry.from_settings(settings)
run = registry.begin_run("k", {})
(Path(folder) / "a").mkdir()
(Path(folder) / "a" / "file").write_text("kept")
registry.upload(run, Path(folder) / "a", "model")
print((registry.artifact(run, "model", Path(folder) / "b") / "file").read_text())
"""
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_mlflow, database)
    values = (f"sqlite:///{database}", s3_settings.s3_endpoint_url or "", s3_settings.s3_secret_key.get_secret_value())
    done = subprocess.run(
        [sys.executable, "-c", code, *values, str(tmp_path)],
        capture_output=True, text=True, env={**os.environ, **FOREIGN}, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "kept\n"), done.stderr
