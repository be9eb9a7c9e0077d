"""What an archive says of itself: `backup.json`, written last, so that an archive without it is unfinished."""

import json
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from genre_assets.errors import BadInput

FILE = "backup.json"
OBJECTS = "objects.jsonl"
SECRETS = "secrets.env"
FORMAT = 1
LIBRARIES = ("genre-assets", "dagster", "mlflow", "optuna")


@dataclass(frozen=True)
class Dump:
    """One database: what pg_dump wrote, the version of its tables, and the rows of each at that moment."""

    file: str
    size: int
    sha256: str
    revision: str
    rows: dict[str, int]


@dataclass(frozen=True)
class Entry:
    """One object, as a line of `objects.jsonl`; its bytes are the file `objects/<2 digits>/<sha256>`."""

    bucket: str  # what it is for: raw, clients, features, mlflow, serving
    key: str
    size: int
    sha256: str
    modified: str
    type: str

    @property
    def file(self) -> str:
        """Name of its bytes in the archive: two objects of one content are one file."""
        return f"objects/{self.sha256[:2]}/{self.sha256}"


@dataclass(frozen=True)
class Manifest:
    """All that is known of an archive before one of its parts is read."""

    made: str  # ISO 8601, UTC
    databases: dict[str, Dump]
    buckets: dict[str, str]  # what for -> name
    objects: int
    objects_bytes: int
    objects_sha256: str  # of objects.jsonl
    server: int  # major version of PostgreSQL
    restless: int = 0  # objects that changed again and again while they were read
    release: str | None = None
    public_key: str | None = None  # by whose secret part releases were signed
    secrets_sha256: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Of all tables of all databases."""
        return sum(sum(dump.rows.values()) for dump in self.databases.values())

    def to_json(self) -> str:
        """As `backup.json`."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: bytes, where: str) -> "Manifest":
        """Raises `BadInput` if it is no manifest, or of a later form than this code knows."""
        try:
            value: dict[str, Any] = json.loads(text)
            if value["format"] > FORMAT:
                made_by = value.get("libraries", {}).get("genre-assets", "a later version")
                raise BadInput(f"{where} was made by later code (genre-assets {made_by}): restore it with that version")
            dumps = {name: Dump(**dump) for name, dump in value["databases"].items()}
            return cls(**{**value, "databases": dumps})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"{where}/{FILE} is damaged ({error!r}): take another backup") from error


def libraries() -> dict[str, str]:
    """The versions that wrote the data."""
    return {name: metadata.version(name) for name in LIBRARIES}
