"""A backup: four snapshots at one moment, then the buckets, then the manifest that makes it one."""

import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from genre_assets.backup import buckets, databases
from genre_assets.backup.data_services import Say, are_elsewhere, to_read
from genre_assets.backup.manifest import FILE, OBJECTS, SECRETS, Dump, Manifest, libraries
from genre_assets.backup.places import Bucket, Folder, Place, own_buckets, place
from genre_assets.errors import BadInput
from genre_assets.packaging import publish, signature
from genre_assets.settings import Settings
from genre_assets.stack.configuration import stated_outside
from genre_assets.store import ObjectInfo, ObjectStore, s3_client

Listing = dict[tuple[str, str], ObjectInfo]
MARK = "begun.json"  # a place with it and without a manifest is a backup that broke off
_SECRET = re.compile("SECRET|TOKEN|KEY|URL|WEBHOOK|PASSWORD")
_PLACE = re.compile("_PORT$|_HOST|_HOME$|HOSTS$|TRITON_|_OFFSET$|_REPLICA$|DASK_|_BUCKET$")  # of a machine, not of data


@dataclass(frozen=True)
class Saved:
    """What came of a backup. `size` is in bytes, as it lies in the archive."""

    where: str
    manifest: Manifest
    size: int
    seconds: float

    def __str__(self) -> str:
        m = self.manifest
        restless = f", {m.restless} of which changed at every look" if m.restless else ""
        secrets = "secrets are in it" if m.secrets_sha256 else "no secrets are in it"
        return (
            f"the backup in {self.where} is whole: {len(m.databases)} databases with {m.rows} rows, {m.objects} objects{restless}, "
            f"release {m.release or 'none yet'}; {self.size / 1e6:.1f} MB in {self.seconds:.1f} s; {secrets}"
        )


def save(settings: Settings, address: str, *, secrets: bool, say: Say, progress: buckets.Progress) -> Saved:
    """Back up all that `settings` lead to into a folder or an `s3://` prefix.

    The databases come first, so that their rows name objects that are there. What a backup that broke off has left in the
    place is used again. Raises `BadInput` for a place that holds something else, `PermanentFailure` without the room.
    """
    started = time.monotonic()
    with to_read(settings, say):
        store = ObjectStore(s3_client(settings))
        where = place(address, settings, store)
        there = _look_at(where)
        server = databases.server_version(settings)
        tool_folder = databases.tools(server)
        listed = buckets.listing(settings, store)
        with where.scratch() as scratch:
            made, dumps = _now(), _dump_all(settings, where, scratch, tool_folder, listed, there, say)
            say(f"{len(listed)} objects, {sum(info.size for info in listed.values()) / 1e6:.0f} MB")
            saved = buckets.save(settings, store, where, scratch, set(there), progress)
            lines = "".join(json.dumps(asdict(entry), sort_keys=True) + "\n" for entry in saved.entries)
            listed_sha = _write(where, scratch, OBJECTS, lines)
            secrets_sha = _write(where, scratch, SECRETS, _secrets(settings)) if secrets else None
            manifest = Manifest(
                made, dumps, own_buckets(settings), len(saved.entries), sum(e.size for e in saved.entries),
                listed_sha, server, saved.restless, _release(settings, store),
                signature.own_public_key(settings), secrets_sha, stated(settings), libraries(),
            )  # fmt: skip
            _write(where, scratch, FILE, manifest.to_json())  # last: it says that all is there
    whole = {FILE, OBJECTS, *(dump.file for dump in dumps.values()), *(entry.file for entry in saved.entries)}
    size = sum(bytes_ for name, bytes_ in where.sizes().items() if name in whole)
    return Saved(str(where), manifest, size, time.monotonic() - started)


def _dump_all(
    settings: Settings, where: Place, scratch: Path, tool_folder: Path, listed: Listing, there: dict[str, int], say: Say
) -> dict[str, Dump]:
    """Each database as it stood at one moment. The snapshots end here: a long one keeps the server from cleaning up."""
    dumps = {}
    with databases.snapshots(settings) as snapshots:
        size = sum(info.size for info in listed.values()) + sum(one.size for one in snapshots.values())
        where.require_room(size - sum(bytes_ for name, bytes_ in there.items() if name.startswith("objects/")))
        _write(where, scratch, MARK, json.dumps({"since": _now()}))
        for name, url in databases.urls(settings).items():
            say(f"database {name}")
            file = scratch / f"{name}.dump"
            dumps[name] = databases.dump(name, url, snapshots[name], file, tool_folder)
            where.add(dumps[name].file, file)
    return dumps


def stated(settings: Settings) -> dict[str, str]:
    """The settings that somebody stated and that say how the platform works: no secret, no address, no place."""
    names = sorted(f"GENRE_{name.upper()}" for name in settings.model_fields_set)
    return {
        name: str(getattr(settings, name.removeprefix("GENRE_").lower()))
        for name in names
        if not _SECRET.search(name) and not _PLACE.search(name)
    }


def _look_at(where: Folder | Bucket) -> dict[str, int]:
    """The files of a backup that broke off here; none in a new place. Raises `BadInput` if something else is there."""
    there = where.sizes()
    if FILE in there:
        raise BadInput(f"{where} is a whole backup already: name another place for this one")
    if there and MARK not in there:
        raise BadInput(f"{where} holds other files: name a new or an empty place")
    return there


def _write(where: Place, scratch: Path, name: str, text: str) -> str:
    file = scratch / name
    file.touch(mode=0o600)
    file.write_text(text)
    digest = buckets.sha256(file)
    where.add(name, file)
    return digest


def _release(settings: Settings, store: ObjectStore) -> str | None:
    try:
        return publish.newest(settings, store).id
    except FileNotFoundError:
        return None


def _secrets(settings: Settings) -> str:
    """What the stack remembers; where services are elsewhere, what the environment states."""
    if not are_elsewhere(settings) and (settings.home / "stack.env").exists():
        return (settings.home / "stack.env").read_text()
    return "".join(f"{name}={value}\n" for name, value in sorted(stated_outside().items()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
