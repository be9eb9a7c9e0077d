"""The `.env` of docker-compose.yaml: fresh secrets, and every setting that may be changed there, with its default and its text.

Defaults stay commented out, so that a later version's hold. Secrets are letters, digits, `-` and `_`: they stand in
addresses, and Compose reads the file too.
"""

import os
import re
import secrets
import stat
from pathlib import Path

from genre_assets.errors import BadInput
from genre_assets.shipped.files import PROJECT_ROOT, data_file

TEMPLATE = data_file("deploy/.env.example")
COMPOSE = PROJECT_ROOT / "docker-compose.yaml"
MADE = (
    "GENRE_S3_SECRET_KEY", "GENRE_TRITON_ADMIN_TOKEN", "GENRE_TRITON_DOOR_KEY", "GENRE_RELEASE_KEY", "GENRE_POSTGRES_PASSWORD",
    "GENRE_DATABASE_PASSWORD", "GENRE_OPTUNA_DATABASE_PASSWORD", "GENRE_DAGSTER_DATABASE_PASSWORD",
    "GENRE_MLFLOW_DATABASE_PASSWORD", "GENRE_READER_DATABASE_PASSWORD", "GENRE_APPENDER_DATABASE_PASSWORD", "GENRE_GRAFANA_PASSWORD",
)  # fmt: skip
STATED = ("COMPOSE_PROFILES",)
_ASSIGNMENT = re.compile(r"(?:# ?)?((?:GENRE|COMPOSE)_[A-Z0-9_]+)=(.*)")
_HEAD = """\
# For docker-compose, written by `genre-assets env`: keep it as you keep passwords. What is commented out is at its default;
# addresses and ports between the containers are docker-compose.yaml's own.
"""


def fixed(compose: str) -> frozenset[str]:
    """The variables that docker-compose.yaml states for its services: what `.env` says of them has no effect."""
    return frozenset(re.findall(r"^ +(GENRE_[A-Z0-9_]+): (?!.*\$\{\1\b)\S", compose, re.MULTILINE))


def compose_environment(template: str, compose: str) -> str:
    """The text of a `.env` with new secrets; raises `BadInput` if the template lacks one of them."""
    made = {name: secrets.token_urlsafe(24) for name in MADE}
    stated, lines, comments = fixed(compose), [_HEAD], list[str]()
    for line in template.splitlines()[template.splitlines().index("") :]:
        found = _ASSIGNMENT.fullmatch(line)
        if found is None:
            comments = [*comments, line] if line.startswith("#") else []
            if not line.startswith("# ") or line.startswith("# ---"):
                lines, comments = [*lines, line], []
            continue
        name, default = found.groups()
        if name in made:
            lines += [*comments, f"{name}={made.pop(name)}"]
        elif name in STATED:
            lines += [*comments, f"{name}={default}"]
        elif name not in stated and not name.endswith("_PORT") and name != "GENRE_PORT_OFFSET":
            lines += [*comments, f"# {name}={default}"]
        comments = []
    if made:
        raise BadInput(f"{TEMPLATE} does not name {', '.join(made)}: take the file of this version")
    return re.sub(r"(\n# ---[^\n]*\n)(\n|(?=# ---))", r"\1", "\n".join(lines)) + "\n"


def new_environment() -> str:
    """The same from the files of this checkout. Raises `BadInput` where there is none."""
    try:
        return compose_environment(TEMPLATE.read_text(), COMPOSE.read_text())
    except FileNotFoundError as error:
        raise BadInput(f"{error.filename} is not there: docker-compose runs in a checkout of the project") from None


def write(path: Path, text: str) -> None:
    """A new file that its owner alone reads. Raises `BadInput` if there is one: its secrets are in use."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadInput(f"{path} is there already, and its secrets are in use: move it away to make another") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def close_output() -> None:
    """Where standard output goes into a file (`> .env`), let its owner alone read it."""
    if stat.S_ISREG(os.fstat(1).st_mode):
        os.fchmod(1, 0o600)
