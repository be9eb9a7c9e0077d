"""A restore: everything is looked at before anything is touched; then objects, databases, their versions, the release."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from genre_assets.backup import buckets, databases, releases
from genre_assets.backup.data_services import Say, to_write
from genre_assets.backup.manifest import FILE, OBJECTS, SECRETS, Entry, Manifest
from genre_assets.backup.places import Bucket, Folder, Place, own_buckets, place, require_room
from genre_assets.backup.save import MARK, stated
from genre_assets.database import Database
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.settings import Settings
from genre_assets.stack.containers.init import upgrade_dagster, upgrade_mlflow
from genre_assets.stack.table_versions import SETTINGS, known, standing
from genre_assets.store import ObjectStore, s3_client


@dataclass(frozen=True)
class Restored:
    """What came of a restore."""

    where: str
    manifest: Manifest
    serves: str | None
    signed: int
    removed: int
    seconds: float

    def __str__(self) -> str:
        m = self.manifest
        signed = f", {self.signed} releases signed anew" if self.signed else ""
        removed = f", {self.removed} objects that were there before removed" if self.removed else ""
        return (
            f"restored from {self.where}, of {m.made}: {len(m.databases)} databases with {m.rows} rows, {m.objects} objects "
            f"({m.objects_bytes / 1e6:.1f} MB){signed}{removed}, in {self.seconds:.1f} s; "
            f"{self.serves or 'no release'} serves when the stack is started"
        )


def restore(
    settings: Settings, address: str, *, replace: bool, sign: bool, say: Say, progress: buckets.Progress
) -> Restored:
    """Put an archive back into an empty installation, or with `replace` in the place of what is there.

    Raises `BadInput` before anything is touched: for an archive that is unfinished, damaged or of later code, for services
    that work on the data, for other names of buckets, for releases by a key that is not accepted (`sign` signs them anew),
    and for an installation that is not empty.
    """
    started = time.monotonic()
    with to_write(settings, say):
        store = ObjectStore(s3_client(settings))
        where = place(address, settings, store)
        manifest = read_manifest(where)
        _refuse_unfit(settings, manifest, where)
        if not sign:
            releases.refuse_foreign(settings, manifest, where)
        server = databases.server_version(settings)
        if server < manifest.server:
            raise BadInput(
                f"{where} is of PostgreSQL {manifest.server}, here is {server}: restore into a server of that version or later"
            )
        tool_folder = databases.tools(server)
        _refuse_in_use(settings, store, replace=replace)
        if settings.home.exists():
            require_room(
                settings.home, 2 * (manifest.objects_bytes + sum(d.size for d in manifest.databases.values())), "it"
            )
        with where.scratch(close_to=_scratch(settings)) as scratch:
            say("looking at every part of the archive")
            entries = _verified(where, manifest, scratch, progress)
            say(f"{len(entries)} objects")
            buckets.put_back(settings, store, where, entries, scratch, progress)
            removed = buckets.remove_others(settings, store, entries) if replace else 0
            for name, url in databases.urls(settings).items():
                say(f"database {name}")
                dump = where.fetch(manifest.databases[name].file, scratch / f"{name}.dump")
                databases.put_back(name, url, dump, tool_folder, scratch)
        _compare_rows(settings, manifest)
        _bring_up(settings, manifest, say)
        database = Database(settings.database_url.get_secret_value())
        signed = list[str]()
        if sign and manifest.release is not None and not releases.is_accepted(settings, manifest):
            signed = releases.sign_anew(settings, store, database, manifest)
        serves = releases.put_on_disk(settings, store, database)
    for line in differing(settings, manifest):
        say(line)
    return Restored(str(where), manifest, serves, len(signed), removed, time.monotonic() - started)


def read_manifest(where: Folder | Bucket) -> Manifest:
    """What an archive says of itself. Raises `BadInput` if there is none, or it is unfinished."""
    there = where.sizes()
    if FILE not in there:
        what = "is a backup that broke off" if MARK in there else "is no backup"
        raise BadInput(f"{where} {what}: {FILE}, which is written last, is not there")
    if isinstance(where, Folder):
        return Manifest.from_json((where.path / FILE).read_bytes(), str(where))
    return Manifest.from_json(where.store.get_bytes(where.bucket, f"{where.prefix}{FILE}"), str(where))


def differing(settings: Settings, manifest: Manifest) -> list[str]:
    """The settings that the archive's stack stated otherwise than this one, each as a sentence."""
    here = {name: str(getattr(settings, name.removeprefix("GENRE_").lower(), "")) for name in manifest.settings}
    here |= stated(settings)
    return [
        f"{name} is {here[name] or 'not known'} here and was {manifest.settings.get(name, 'at its default')} there"
        for name in sorted(here)
        if here[name] != manifest.settings.get(name)
    ]


def _scratch(settings: Settings) -> Path | None:
    """On the disk of the state folder, if there is one: the temporary one may be a small one in memory."""
    return settings.home if settings.home.is_dir() else None


def _refuse_unfit(settings: Settings, manifest: Manifest, where: object) -> None:
    """Raise `BadInput` if this code or this installation cannot hold what is in the archive."""
    code = manifest.libraries.get("genre-assets", "unknown")
    for name, dump in manifest.databases.items():
        if standing(name, dump.revision) == "newer":
            heads = ", ".join(sorted(known(name).heads))
            raise BadInput(
                f"{where} is of later code than this: its tables of {name} are at version {dump.revision}, this code knows "
                f"them up to {heads}. Install genre-assets {code} or later ({_libraries(manifest)}), then restore"
            )
    if missing := SETTINGS.keys() - manifest.databases.keys():
        raise BadInput(f"{where} lacks the databases {', '.join(sorted(missing))}: take another backup")
    for role, name in own_buckets(settings).items():
        if manifest.buckets.get(role) != name:
            raise BadInput(
                f"the bucket is {manifest.buckets.get(role)} in {where} and {name} here, and rows of the databases name it: "
                f"set GENRE_{role.upper()}_BUCKET={manifest.buckets.get(role)}"
            )


def _libraries(manifest: Manifest) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(manifest.libraries.items()))


def _refuse_in_use(settings: Settings, store: ObjectStore, *, replace: bool) -> None:
    """Raise `BadInput` if services are connected, or if there is data and it is not to be replaced."""
    full = []
    for name, (rows, others, _) in databases.look(settings).items():
        if others:
            raise BadInput(
                f"the database {name} is in use ({', '.join(sorted(others))}): stop every service but PostgreSQL and S3, "
                "restore, then start them"
            )
        full += [
            f"{rows[table]} rows in {table} of {name}" for table in databases.WORK[name] if rows.get(table, 0)
        ]  # fmt: skip
    objects = len(buckets.listing(settings, store))
    full += [f"{objects} objects in the buckets"] if objects else []
    if full and not replace:
        raise BadInput(
            f"this installation is not empty ({'; '.join(full)}): restore into a new one (GENRE_HOME), or give --replace, which "
            "removes all that is here. A restore that broke off is repeated with --replace, too"
        )


def _verified(where: Place, manifest: Manifest, scratch: Path, progress: buckets.Progress) -> list[Entry]:
    """The objects of the archive, once every part of it is what its manifest says. Raises `BadInput` that names what is not."""
    parts = {dump.file: dump.sha256 for dump in manifest.databases.values()} | {OBJECTS: manifest.objects_sha256}
    if manifest.secrets_sha256:
        parts[SECRETS] = manifest.secrets_sha256
    wrong = [name for name, digest in parts.items() if _digest(where, name, scratch) != digest]
    entries = list[Entry]()
    if OBJECTS not in wrong:
        lines = where.fetch(OBJECTS, scratch / "listed").read_text().splitlines()
        entries = [Entry(**json.loads(line)) for line in lines]
        wrong += buckets.damaged(where, entries, scratch, progress)
    if wrong:
        raise BadInput(
            f"{where} is damaged: {len(wrong)} of its files are missing or changed ({', '.join(wrong[:3])}"
            f"{' ...' if len(wrong) > 3 else ''}). Nothing was changed; take another backup"
        )
    return entries


def _digest(where: Place, name: str, scratch: Path) -> str:
    try:
        return buckets.sha256(where.fetch(name, scratch / "looked_at"))
    except FileNotFoundError:
        return ""


def _compare_rows(settings: Settings, manifest: Manifest) -> None:
    for name, (rows, *_) in databases.look(settings).items():
        if rows != (wanted := manifest.databases[name].rows):
            table = next(one for one in sorted(rows.keys() | wanted.keys()) if rows.get(one) != wanted.get(one))
            raise PermanentFailure(
                f"{table} of {name} has {rows.get(table)} rows after the restore, and had {wanted.get(table)}: is somebody at "
                "work on it? Stop every service but PostgreSQL and S3, and restore again with --replace"
            )


def _bring_up(settings: Settings, manifest: Manifest, say: Say) -> None:
    """Bring the tables up to this code, if they are of earlier code."""
    older = [name for name, dump in manifest.databases.items() if standing(name, dump.revision) in {"older", "none"}]
    if older:
        say(f"bringing up the tables of {', '.join(older)}, which earlier code made")
    Database(settings.database_url.get_secret_value()).version()
    if "dagster" in older:
        upgrade_dagster(settings)
    if "mlflow" in older:
        upgrade_mlflow(settings)
