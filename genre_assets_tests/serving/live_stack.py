"""A real Triton over a real release of toy models, with real S3 and PostgreSQL, for the tests of the serving path."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import dagster as dg
import pytest

from genre_assets.database import Database
from genre_assets.definitions import build_defs
from genre_assets.packaging import publish, release
from genre_assets.packaging.environment import conda as environment
from genre_assets.packaging.environment.lock import Environment
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.serving.promotion.policy import Route
from genre_assets.serving.rollout.live import Live, go_live
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services.database_roles import let_append
from genre_assets.stack.services.postgres import APPENDER, Postgres, password_of
from genre_assets.stack.services.triton import Triton
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl
from genre_assets_tests.serving.toys import toy_model
from genre_assets_tests.waiting import until


@dataclass
class LiveStack:
    """Everything that a serving test wants to hold."""

    settings: Settings
    store: ObjectStore
    database: Database
    control: TritonControl
    client: GenreClient
    models: Mapping[int, Path]
    environment: Environment
    folder: Path
    releases: list[release.Release] = field(default_factory=list)

    def build(self, models: Mapping[int, Path], roles: Mapping[str, int], name: str) -> release.Release:
        """Build and publish a release without the parity gate."""
        made = release.build(self.folder / name, self.settings, self.environment, models, roles)
        publish.publish(self.settings, self.store, made, self.folder / name)
        return made

    @property
    def repository(self) -> ModelRepository:
        """The live model repository."""
        return ModelRepository(self.settings.repository)

    def model(self, step: str) -> str:
        """The name in Triton of the model that is this step of the release on disk."""
        return self.repository.model(step).name

    def wait_until_logged(self, seconds: float = 60.0) -> None:
        """Wait until all answers so far are in the database: by the spool itself, whose gauge is of the last round."""
        spool = self.settings.home / "triton" / "spool"
        until(lambda: not list(spool.glob("*")), "the spool drains", seconds, 0.1)

    def fresh_log(self) -> None:
        """The champion of the first release serves, and the log is empty: what was asked has come in, and is removed."""
        self.store.write_json(self.settings.serving_bucket, "releases/current.json", {"id": self.releases[0].id})
        self.serve("champion")
        self.wait_until_logged()
        self.database.execute("TRUNCATE served_requests")

    def serve(self, route: Route) -> Live:
        """Let the newest release serve on this route, as the job `promote` does."""
        return go_live(self.settings, self.store, self.control, self.client, lambda _: route)

    def promote(self, route: Route, reason: str = "by hand", *, pin: bool = False) -> bool:
        """Run the job `promote` as a person launches it; whether it succeeded."""
        config = {"route": route, "reason": reason, "actor": "person", "pinned": pin}
        with dg.DagsterInstance.ephemeral() as instance:
            done = self._promotion.execute_in_process(
                {"ops": {"live_ensemble": {"config": config}}}, instance=instance, raise_on_error=False
            )
        return done.success

    @cached_property
    def _promotion(self) -> dg.JobDefinition:
        return build_defs(self.settings).resolve_job_def("promote")


@pytest.fixture(scope="session")
def execution_environment(request: pytest.FixtureRequest, s3_settings: Settings) -> Environment:
    """The real execution environment, built from the local channel; kept in pytest's cache for the next session.

    In a bucket of its own: other tests leave archives of that name in theirs.
    """
    home = Path(request.config.cache.mkdir("execution_environment"))
    own = {"environment_source": "local", "home": home, "serving_bucket": "genre-execution-environment"}
    settings, store = s3_settings.model_copy(update=own), ObjectStore(s3_client(s3_settings))
    store.ensure_buckets(settings.serving_bucket)
    return environment.ensure(settings, store)


@pytest.fixture(scope="session")
def live(
    tmp_path_factory: pytest.TempPathFactory,
    execution_environment: Environment,
    s3_settings: Settings,
    postgres: Postgres,
) -> Iterator[LiveStack]:
    """Triton and its door as kept services, serving two toy models: version 3 (champion) and 4 (fallback)."""
    with live_stack(tmp_path_factory.mktemp("live"), execution_environment, s3_settings, postgres) as stack:
        yield stack


@contextmanager
def live_stack(
    folder: Path,
    execution_environment: Environment,
    s3_settings: Settings,
    postgres: Postgres,
    models: Mapping[int, Path] | None = None,
) -> Iterator[LiveStack]:
    """The same for whoever is no test of pytest's, or with other models; `folder` is removed at the end."""
    from genre_assets_tests.conftest import free_port, running  # which loads this module as a plugin

    http, grpc, metrics, inner_http, inner_grpc = (free_port() for _ in range(5))
    settings = load_settings(
        folder / "home",
        s3_endpoint_url=s3_settings.s3_endpoint_url,
        s3_secret_key=s3_settings.s3_secret_key,
        database_url=postgres.url("genre"), appender_database_url=appender_url(postgres),
        triton_http_port=http, triton_grpc_port=grpc, triton_metrics_port=metrics,
        triton_http=f"127.0.0.1:{http}", triton_grpc=f"127.0.0.1:{grpc}", triton_metrics=f"127.0.0.1:{metrics}",
        triton_inner_http_port=inner_http, triton_inner_grpc_port=inner_grpc,
        triton_inner_http=f"127.0.0.1:{inner_http}", triton_inner_grpc=f"127.0.0.1:{inner_grpc}",
        triton_admin_token="token-of-the-tests", triton_door_key="key-of-the-tests", release_key="key-of-releases",
        environment_source="local",
        serving_max_item_mb=4, serving_max_request_mb=16, spool_max_mb=16,
        # A bucket of its own: the fixture `store` empties the others between tests.
        serving_bucket="live-serving",
    )  # fmt: skip
    settings.home.mkdir()
    write_env(settings)
    (settings.home / "environments").mkdir()
    (settings.home / "environments" / execution_environment.lock.hash).symlink_to(execution_environment.folder)
    models = models or {
        3: toy_model(folder / "m3", version=3, family="xgboost", seed=1),
        4: toy_model(folder / "m4", version=4, family="random_forest", seed=2),
    }
    Database(postgres.url("genre")).version()
    let_append(settings)
    store = ObjectStore(s3_client(settings))
    store.ensure_buckets(settings.serving_bucket)
    store.upload_file(settings.serving_bucket, execution_environment.key, execution_environment.archive)
    control = TritonControl.from_settings(settings)
    with running(Triton(settings)), running(TritonDoor(settings)):
        client = GenreClient.from_settings(settings)
        stack = LiveStack(
            settings, store, Database(postgres.url("genre")), control,
            client, models, execution_environment, folder,
        )  # fmt: skip
        stack.releases.append(stack.build(models, {"champion": 3, "fallback": 4}, "first"))
        go_live(settings, stack.store, control, client, lambda _: "champion")
        yield stack
        client.close()
    assert not list(Path("/dev/shm").glob(f"genre_{inner_http}_*"))
    shutil.rmtree(folder, ignore_errors=True)


def appender_url(postgres: Postgres, database: str = "genre") -> str:
    """The address of the role that may append to the prediction log of the session's database."""
    where = postgres.url(database).rpartition("@")[2]
    return f"postgresql://{APPENDER}:{password_of(APPENDER, postgres.password)}@{where}"


def write_env(settings: Settings) -> None:
    """The models inside Triton read the settings from the state folder, as in the stack."""
    given = settings.model_fields_set - {"home"}
    lines = []
    for name in sorted(given):
        value = getattr(settings, name)
        shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        lines.append(f"GENRE_{name.upper()}={shown}\n")
    (settings.home / "stack.env").write_text("".join(lines))
