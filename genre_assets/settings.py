"""Every setting of the platform, in one frozen, typed object.

Values come from, in this order: environment variables, `$GENRE_HOME/stack.env` (written by `genre-assets up`), the
defaults below. A name is the field's in upper case behind `GENRE_`: `window_size` is `GENRE_WINDOW_SIZE`. Each one
is documented in `deploy/.env.example`, which a test keeps complete.

No code reads the environment in another place.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from genre_assets.errors import BadInput

Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Hours = Annotated[float, Field(ge=0, le=1e6)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]  # dates some decades from now can still be reckoned
Owner = Annotated[str, Field(pattern=r"^(team:\S+|[\w.%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$")]


class Settings(BaseSettings):
    """All settings; see `deploy/.env.example` for what each does. Raises `BadInput` through `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="GENRE_", frozen=True, extra="ignore", env_file_encoding="utf-8", allow_inf_nan=False
    )

    # Where state lives on this machine (data of the local services, logs, unpacked environments).
    home: Path = Path(".genre")
    host: str = "127.0.0.1"

    # Object store: one code path for the local server, LocalStack and AWS.
    s3_endpoint_url: str | None = "http://127.0.0.1:9300"
    s3_access_key: str = "genre"
    s3_secret_key: SecretStr = SecretStr("")
    s3_region: str = "us-east-1"
    # SQS queue of the raw bucket's event notifications, and how often the whole bucket is listed beside it.
    s3_events: str = ""
    s3_list_seconds: Seconds = 900.0
    raw_bucket: str = "genre-raw"
    clients_bucket: str = "genre-clients"
    features_bucket: str = "genre-features"
    mlflow_bucket: str = "genre-mlflow"
    serving_bucket: str = "genre-serving"

    # Database: one server; the platform's own tables, Optuna's, Dagster's and MLflow's are separate databases.
    database_url: SecretStr = SecretStr("postgresql+psycopg2://genre@127.0.0.1:5532/genre")
    optuna_url: SecretStr = SecretStr("postgresql+psycopg2://genre@127.0.0.1:5532/optuna")
    dagster_database_url: SecretStr = SecretStr("postgresql+psycopg2://genre@127.0.0.1:5532/dagster")
    mlflow_database_url: SecretStr = SecretStr("postgresql+psycopg2://genre@127.0.0.1:5532/mlflow")
    # A superuser, by whom databases and roles are made; empty: they are there already.
    postgres_admin_url: SecretStr = SecretStr("")
    # Roles that are let read the platform's tables (Grafana's), and append to the prediction log (Triton's); empty: none.
    reader_database_url: SecretStr = SecretStr("")
    appender_database_url: SecretStr = SecretStr("")

    # Services.
    mlflow_url: str = "http://127.0.0.1:5500"
    dagster_url: str = "http://127.0.0.1:3300"
    gateway_url: str = "http://127.0.0.1:8405"
    # Addresses for people's browsers, where links are not to be made of those between the services (containers, a proxy).
    mlflow_public_url: str = ""
    dagster_public_url: str = ""
    gateway_public_url: str = ""
    s3_public_url: str = ""
    # Further host names that Dagster's UI is reached by, separated by commas; it answers to no other.
    dagster_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # The same of the gateway, the page for people and the REST interface.
    gateway_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # Whether a request to it needs a key: auto, where it listens elsewhere than on the loopback.
    gateway_keys: Literal["auto", "always", "never"] = "auto"
    # The same of MLflow's UI, with the port where there is one.
    mlflow_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    # Where the webserver and the daemon find the code server; empty: at the host that it listens on.
    dagster_code_host: str = ""
    triton_grpc: str = "127.0.0.1:8401"
    triton_http: str = "127.0.0.1:8400"
    triton_metrics: str = "127.0.0.1:8402"
    triton_admin_token: SecretStr = SecretStr("")
    # Triton itself, behind the door that clients ask at the addresses above, and what it knows the door by.
    triton_inner_grpc: str = "127.0.0.1:8404"
    triton_inner_http: str = "127.0.0.1:8403"
    triton_door_key: SecretStr = SecretStr("")
    triton_repository: Path | None = None

    # Ports of the local stack; the offset moves all that are not set, for a second stack beside the first.
    port_offset: Annotated[int, Field(ge=0, le=50000)] = 0
    s3_port: Port = 9300
    postgres_port: Port = 5532
    mlflow_port: Port = 5500
    dagster_port: Port = 3300
    dagster_code_port: Port = 4300
    triton_http_port: Port = 8400
    triton_grpc_port: Port = 8401
    triton_metrics_port: Port = 8402
    triton_inner_http_port: Port = 8403
    triton_inner_grpc_port: Port = 8404
    gateway_port: Port = 8405
    prometheus_port: Port = 8407
    alertmanager_port: Port = 8408
    node_exporter_port: Port = 8409
    # Prometheus, Alertmanager and the node exporter, as services of the local stack.
    observability: bool = False
    agent_port: Port = 8406

    # Audio.
    feature_set: Literal["default", "gtzan37"] = "default"
    max_seconds: Seconds = 30.0
    segment_seconds: Seconds = 10.0
    offset: Literal["start", "middle", "random"] = "start"
    min_seconds: Seconds = 1.0
    max_file_mb: Seconds = 200.0
    quarantine_warn_share: Share = 0.1
    workers: Annotated[int, Field(ge=0)] = 0
    dask_scheduler: str | None = None

    # Training. trials_*: how many trials each family's study has in all.
    trials_xgboost: Count = 20
    trials_random_forest: Count = 30
    trials_k_neighbors: Count = 50
    trials_linear: Count = 16
    tuning_seconds: Seconds = 600.0
    seed: int = 20261
    min_clips_per_genre: Count = 3
    gate_margin: float = 0.0
    gate_recall_floor: Share = 0.0
    retrain_min_new_clips: Count = 10
    retrain_cooldown_seconds: Seconds = 900.0
    # Retrain when the last training set is older than this many hours; 0 is never.
    retrain_every_hours: Hours = 0.0
    # Retrain when the fallback has served (without one: drift has asked) for this many hours without a break; 0 is never.
    retrain_drift_hours: Hours = 24.0
    # Ready feature tables instead of audio: files or s3:// addresses separated by commas, each `path` or `split=path`.
    feature_tables: str = ""
    # Fallback: how many held-out clips are perturbed to measure robustness; 0 perturbs features instead of audio.
    robustness_clips: Annotated[int, Field(ge=0)] = 20
    # A fallback's balanced accuracy on perturbed audio is surely above chance, and above this; else there is no fallback.
    fallback_floor: Share = 0.0

    # Serving.
    environment_source: Literal["auto", "conda-forge", "local"] = "auto"
    conda_channel: str = "https://conda.anaconda.org/conda-forge"
    serving_max_item_mb: Seconds = 50.0
    serving_max_batch: Count = 16
    serving_allowed_buckets: Annotated[tuple[str, ...], NoDecode] = ()
    # What one request may hold in all.
    serving_max_request_mb: Seconds = 200.0
    # What the door takes in of one request at all; what is larger never reaches Triton.
    door_max_mb: Annotated[float, Field(gt=0, le=2000)] = 512.0
    # What it holds of all requests together, and how many clients it serves at once: connections of HTTP, and of gRPC
    # connections and calls. One more is told to try again.
    door_memory_mb: Annotated[float, Field(gt=0)] = 1024.0
    door_connections: Count = 1000
    # Processes that decode and extract inside Triton; 0 is one for each core.
    serving_extractors: Annotated[int, Field(ge=0)] = 0
    # A timeline: hours of the longest file that has one, and seconds of work after which it ends where it has come to.
    serving_timeline_hours: Hours = 12.0
    serving_timeline_seconds: Seconds = 300.0
    # Size of the prediction log's spool on disk; beyond it the oldest rows are dropped and counted.
    spool_max_mb: Seconds = 256.0
    # Days that the prediction log is kept in the database.
    prediction_retention_days: Days = 90
    # Clients' audio that is kept in their bucket: none, that of doubtful answers, or all; and which share of those.
    capture: Literal["off", "doubtful", "all"] = "off"
    capture_rate: Share = 1.0
    # An answer with less confidence than this is doubtful.
    capture_below_confidence: Share = 0.5
    # How long it is kept, and how much of it: in the bucket, and on disk on the way there.
    capture_retention_days: Days = 30
    capture_max_mb: Seconds = 10_240.0
    capture_spool_max_mb: Seconds = 256.0
    # Releases kept on disk and in the bucket beside the live one.
    releases_kept: Annotated[int, Field(ge=0)] = 5
    # The secret by which releases are signed, and public keys whose signatures are accepted beside our own.
    release_key: SecretStr = SecretStr("")
    release_public_keys: Annotated[tuple[str, ...], NoDecode] = ()
    # Several Tritons, each with an agent beside it: a release and its route are applied when all that report serve them.
    serving_agents: bool = False
    # What a replica calls itself; empty: the name of its host.
    replica: str = ""
    # How long a promotion waits for the replicas, and how long one may say nothing before it answers no more.
    replica_timeout_seconds: Seconds = 120.0
    replica_lost_seconds: Annotated[float, Field(ge=3, le=3600)] = 15.0

    # Drift and promotion.
    window_size: Count = 128
    window_minimum: Count = 48
    window_max_seconds: Seconds = 3600.0
    # Windows with too few items go on until they can be judged, but no longer than this.
    window_oldest_seconds: Seconds = 86400.0
    false_alarm_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    bad_windows: Count = 2
    of_windows: Count = 3
    clean_windows: Count = 3
    min_dwell_seconds: Annotated[float, Field(ge=0, le=1e9)] = 300.0

    # Alerts: Apprise URLs, separated by spaces; a plain webhook takes the JSON as it is.
    alert_urls: SecretStr = SecretStr("")
    alert_webhook: SecretStr = SecretStr("")
    alert_repeat_seconds: Seconds = 3600.0

    # Automation, and who owns the assets: e-mail addresses or `team:name`.
    sensor_interval_seconds: Count = 5
    owners: Annotated[tuple[Owner, ...], NoDecode] = ()

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, values: dict[str, object]) -> dict[str, object]:
        for name, field in cls.model_fields.items():
            if NoDecode in field.metadata and isinstance(listed := values.get(name), str):
                values[name] = tuple(entry.strip() for entry in listed.split(",") if entry.strip())
        if values.get("feature_set") == "gtzan37":  # the reference's rows are whole clips
            values.setdefault("segment_seconds", values.get("max_seconds", cls.model_fields["max_seconds"].default))
        return values

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.window_minimum > self.window_size:
            raise ValueError("GENRE_WINDOW_MINIMUM must not be above GENRE_WINDOW_SIZE")
        if self.window_max_seconds > self.window_oldest_seconds:
            raise ValueError("GENRE_WINDOW_MAX_SECONDS must not be above GENRE_WINDOW_OLDEST_SECONDS")
        if self.bad_windows > self.of_windows:
            raise ValueError("GENRE_BAD_WINDOWS must not be above GENRE_OF_WINDOWS")
        if self.clients_bucket in {self.raw_bucket, self.features_bucket, self.mlflow_bucket, self.serving_bucket}:
            raise ValueError(
                "GENRE_CLIENTS_BUCKET must be a bucket of its own: clients' audio must not become training data unseen"
            )
        if self.segment_seconds > self.max_seconds:
            raise ValueError("GENRE_SEGMENT_SECONDS must not be above GENRE_MAX_SECONDS")
        return self

    @property
    def allowed_buckets(self) -> tuple[str, ...]:
        """Buckets that a Triton client may name in an `s3://` item: those set, or the raw and the clients' bucket."""
        return self.serving_allowed_buckets or (self.raw_bucket, self.clients_bucket)

    @property
    def repository(self) -> Path:
        """Folder of the live Triton model repository, as this process sees it."""
        return self.triton_repository or self.home / "triton" / "repository"

    @property
    def dagster_link(self) -> str:
        """Address of Dagster's UI for people, without a slash at the end."""
        return (self.dagster_public_url or self.dagster_url).rstrip("/")

    @property
    def gateway_link(self) -> str:
        """Address of the page for people, without a slash at the end."""
        return (self.gateway_public_url or self.gateway_url).rstrip("/")

    @property
    def mlflow_link(self) -> str:
        """Address of MLflow's UI for people, without a slash at the end."""
        return (self.mlflow_public_url or self.mlflow_url).rstrip("/")

    @property
    def mlflow_page(self) -> str:
        """The first page of MLflow's UI for people, in its view for machine learning: the other one is for language models."""
        return f"{self.mlflow_link}/#/experiments?workflowType=machine_learning"

    @property
    def extractors(self) -> int:
        """Processes that decode and extract inside Triton."""
        return self.serving_extractors or os.cpu_count() or 1


def state_folder() -> Path:
    """The state folder that the environment names: `GENRE_HOME`, else `.genre` here."""
    return Path(os.environ.get("GENRE_HOME") or ".genre").absolute()


def load_settings(home: Path | None = None, **overrides: object) -> Settings:
    """Read the settings of the stack that lives in `home` (default: `GENRE_HOME`, else `.genre`).

    Raises `BadInput` that names every bad variable and what is wrong with it.
    """
    folder = Path(home).absolute() if home else state_folder()
    try:
        files = (folder / "stack.env", folder / "story.env")  # the second while the demo's story is told
        return Settings(_env_file=files, **{"home": folder, **overrides})  # type: ignore[call-arg,arg-type]
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["msg"], e.get("input")) for e in error.errors())
        raise BadInput(f"bad setting: {problems}. See deploy/.env.example for what each variable takes.") from None


def _problem(location: tuple[int | str, ...], message: str, value: object) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    name = f"GENRE_{str(location[0]).upper()}"
    shown = "***" if any(word in name for word in ("SECRET", "TOKEN", "KEY", "URL", "WEBHOOK")) else repr(value)
    return f"{name}={shown}: {message[:1].lower()}{message[1:]}"
