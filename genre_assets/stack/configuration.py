"""What the local stack remembers: `<home>/stack.env`, written at `genre-assets up`.

It holds the secrets made at the first start, the ports, and every `GENRE_*` variable that was set at an `up`, so that
every later command and every service sees the same ones. `<home>/story.env` beside it wins over it and is there only
while the demo's story is told: the next `up` removes what a killed one left.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from genre_assets.disk.whole import write_whole
from genre_assets.errors import BadInput
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.closed_folder import PASSED_THROUGH
from genre_assets.stack.services.postgres import APPENDER, DATABASES, SUPERUSER, password_of

# Two stacks share a port if their offsets differ as far as two of the default ports do, and the shortest such distance
# that is a multiple of ten is 900: of the multiples of ten below it no two collide.
OFFSET_STEP = 10
OFFSET_END = 900
DAGSTER_READS = (
    "GENRE_WINDOW_", "GENRE_FALSE_ALARM_RATE", "GENRE_BAD_WINDOWS", "GENRE_OF_WINDOWS", "GENRE_CLEAN_WINDOWS",
    "GENRE_MIN_DWELL_SECONDS", "GENRE_SENSOR_INTERVAL_SECONDS", "GENRE_TRIALS_", "GENRE_TUNING_SECONDS",
)  # fmt: skip
APPENDING = "GENRE_APPENDER_DATABASE_URL"
OFFSETS = f"a multiple of {OFFSET_STEP} from 0 to {OFFSET_END - OFFSET_STEP}"


def configure(home: Path | None = None, *, extra: dict[str, str] | None = None) -> Settings:
    """Write `<home>/stack.env` and return the settings that follow from it.

    What the environment says wins, then `extra`, which is for the demo's story alone, then what the file says already,
    then the defaults. An offset in the environment is about every port that is not there too, whatever the file says of
    them. Raises `BadInput` for an offset by which two stacks could share a port, and for two services on one port.
    """
    settings = load_settings(home)
    file, story = settings.home / "stack.env", settings.home / "story.env"
    kept = _read_env(file)
    given = stated_outside()
    ports = ports_for(settings.port_offset)
    moved = {}
    if "GENRE_PORT_OFFSET" in given:
        _check_offset(settings.port_offset)
        moved = ports
    values = {**_secrets(), **ports, **kept, **moved, **given}
    _check_apart({name: values[name] for name in ports})
    values.update({name: value for name, value in _addresses(values, settings.host).items() if name not in given})
    if "GENRE_DATABASE_URL" in given and APPENDING not in given:
        values[APPENDING] = ""  # the log is in that database, of whose roles nothing is known
    settings.home.mkdir(parents=True, exist_ok=True, mode=PASSED_THROUGH)
    if values != kept:
        _write_env(file, values)
    if told := {name: value for name, value in (extra or {}).items() if name not in given}:
        _write_env(story, told)
    else:
        story.unlink(missing_ok=True)
    return load_settings(settings.home)


def remembered(home: Path) -> dict[str, str]:
    """What the files say, by the names of the variables."""
    return {**_read_env(home / "stack.env"), **_read_env(home / "story.env")}


def only_dagster_reads(changed: Iterable[str]) -> bool:
    """Whether the code server and the daemon are all that must be started again for these variables."""
    return all(name.startswith(DAGSTER_READS) for name in changed)


def stated_outside() -> dict[str, str]:
    """The settings that the environment states, by the names of their variables."""
    fields = {f"GENRE_{name.upper()}" for name in Settings.model_fields} - {"GENRE_HOME"}
    return {name: value for name, value in os.environ.items() if name in fields}


def own_addresses(home: Path) -> dict[str, str]:
    """The addresses that nobody stated, by the names of their variables: they are those of this folder's own services."""
    kept = _read_env(home / "stack.env")
    host = kept.get("GENRE_HOST", Settings.model_fields["host"].default)
    outside = stated_outside()
    own = _addresses({**ports_for(0), "GENRE_POSTGRES_PASSWORD": "", **kept}, host)
    return {
        name: address for name, address in own.items() if name not in outside and kept.get(name, address) == address
    }


def ports_for(offset: int) -> dict[str, str]:
    """Every port of a stack, by the name of its variable."""
    fields = {name: field for name, field in Settings.model_fields.items() if name.endswith("_port")}
    return {f"GENRE_{name.upper()}": str(field.default + offset) for name, field in fields.items()}


def _read_env(file: Path) -> dict[str, str]:
    """What the settings themselves read in the file."""
    from dotenv import dotenv_values

    return {name: value or "" for name, value in dotenv_values(file, encoding="utf-8").items()}


def _write_env(file: Path, values: dict[str, str]) -> None:
    write_whole(file, "".join(_env_line(*pair) for pair in sorted(values.items())), mode=0o600)


def _env_line(name: str, value: str) -> str:
    """One assignment, by python-dotenv's rules, that reads back as the same value whatever is in it."""
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    # It puts in variables between any quotes, and has no escape for them: an unset one with a default stands for "$".
    return f"{name}='{quoted.replace('${', '${GENRE_DOLLAR_SIGN:-$}{')}'\n"


def _secrets() -> dict[str, str]:
    return {
        "GENRE_S3_SECRET_KEY": secrets.token_urlsafe(24),
        "GENRE_TRITON_ADMIN_TOKEN": secrets.token_urlsafe(24),
        "GENRE_TRITON_DOOR_KEY": secrets.token_urlsafe(24),
        "GENRE_RELEASE_KEY": secrets.token_urlsafe(24),
        "GENRE_POSTGRES_PASSWORD": secrets.token_urlsafe(24),
    }


def _check_offset(offset: int) -> None:
    """Only one that is given anew is looked at: a stack that was made with another one must stay within reach."""
    if offset % OFFSET_STEP or offset >= OFFSET_END:
        raise BadInput(
            f"GENRE_PORT_OFFSET={offset}: it must be {OFFSETS}, or two stacks could share a port; "
            "each port can be set by itself too (GENRE_DAGSTER_PORT and so on)"
        )


def _check_apart(ports: dict[str, str]) -> None:
    owners: dict[int, str] = {}
    for name, port in ports.items():
        other = owners.setdefault(int(port), name)
        if other != name:
            raise BadInput(f"{other} and {name} are both {port}: each service needs a port of its own")


def _addresses(values: dict[str, str], host: str) -> dict[str, str]:
    """Addresses of the local services, from their ports."""
    password, where = values["GENRE_POSTGRES_PASSWORD"], f"{host}:{values['GENRE_POSTGRES_PORT']}"
    # Plain postgresql:// means psycopg 3 to SQLAlchemy 2.1.
    urls = {
        name: f"postgresql+psycopg2://{role}:{password_of(role, password)}@{where}/{name}"
        for name, role in DATABASES.items()
    }
    return {
        "GENRE_S3_ENDPOINT_URL": f"http://{host}:{values['GENRE_S3_PORT']}",
        "GENRE_POSTGRES_ADMIN_URL": f"postgresql+psycopg2://{SUPERUSER}:{password}@{where}/postgres",
        APPENDING: f"postgresql+psycopg2://{APPENDER}:{password_of(APPENDER, password)}@{where}/genre",
        "GENRE_DATABASE_URL": urls["genre"],
        "GENRE_DAGSTER_DATABASE_URL": urls["dagster"],
        "GENRE_OPTUNA_URL": urls["optuna"],
        "GENRE_MLFLOW_DATABASE_URL": urls["mlflow"],
        "GENRE_MLFLOW_URL": f"http://{host}:{values['GENRE_MLFLOW_PORT']}",
        "GENRE_DAGSTER_URL": f"http://{host}:{values['GENRE_DAGSTER_PORT']}",
        "GENRE_GATEWAY_URL": f"http://{host}:{values['GENRE_GATEWAY_PORT']}",
        "GENRE_TRITON_HTTP": f"{host}:{values['GENRE_TRITON_HTTP_PORT']}",
        "GENRE_TRITON_GRPC": f"{host}:{values['GENRE_TRITON_GRPC_PORT']}",
        "GENRE_TRITON_INNER_HTTP": f"127.0.0.1:{values['GENRE_TRITON_INNER_HTTP_PORT']}",
        "GENRE_TRITON_INNER_GRPC": f"127.0.0.1:{values['GENRE_TRITON_INNER_GRPC_PORT']}",
        "GENRE_TRITON_METRICS": f"{host}:{values['GENRE_TRITON_METRICS_PORT']}",
    }
