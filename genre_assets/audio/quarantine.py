"""The quarantine for people: what is in it and was dropped from it, and the two decisions on a file, each with its audit row.

The page, the REST interface and `genre-assets quarantine` call these functions. A decision is carried out by the next
refresh, which the sensor on the raw bucket asks for.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from genre_assets import audit, keys, labels
from genre_assets.audio.tables import decisions, inventory
from genre_assets.audio.tables.decisions import Decision
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore

SUBJECT = "quarantine"  # in the audit table
READ_AGAIN = "put back: the next refresh reads it again, and says why if it still cannot be used"
CHOSEN = "put back: the next refresh uses it, and none of the other copies of its recording"
_COLUMNS = ["key", "genre", "verdict", "detail", "size", "format", "duration_s", "last_modified", "etag"]


def listed(store: ObjectStore, settings: Settings, limit: int) -> list[dict[str, Any]]:
    """The files that are used for nothing, the newest first, as plain JSON: key, genre, verdict, detail and what is known.

    `waiting` says what a person decided that the next refresh will carry out, and is empty otherwise. What was dropped since
    the last refresh is left out.
    """
    frame = inventory.read_all(store, settings, quarantine=True).sort_values("last_modified", ascending=False)
    rows: list[dict[str, Any]] = json.loads(frame[_COLUMNS].to_json(orient="records", date_format="iso"))
    gone = {(one.key, one.etag) for one in decisions.dropped(store, settings)}
    waiting = {(one.key, one.etag): one for one in decisions.waiting(store, settings).waiting.values()}
    found: list[dict[str, Any]] = []
    for row in rows:
        file = (row["key"], row.pop("etag"))
        decision = waiting.get(file)
        said = f"{CHOSEN if decision.of_copies else READ_AGAIN} ({decision.by}: {decision.reason})" if decision else ""
        if file not in gone and len(found) < limit:
            found.append({**row, "address": f"s3://{settings.raw_bucket}/{row['key']}", "waiting": said})
    return found


def put_back(store: ObjectStore, settings: Settings, database: Database, key: str, *, by: str, reason: str) -> str:
    """Lift the refusal of a file of the raw bucket, or bring back one that was dropped. Returns what follows, for people.

    A copy of a recording is used from the next refresh on instead of the others; any other file is read again by it.

    Raises
    ------
    BadInput
        When the file is neither in quarantine nor dropped, changed since, or lies in no label's folder; or without a reason.
    TransientFailure
        When S3 or the database is away; then nothing is decided.
    """
    _require(reason)
    genre, row = _row_of(store, settings, key)
    if row is None or store.find(settings.raw_bucket, key) is None:
        return _bring_back(store, settings, database, key, by, reason)
    _require_same(store, settings, key, row)
    if genre == labels.UNKNOWN:
        raise BadInput(
            f"{key} lies in no label's folder: make it one with genre-assets labels add "
            f"{keys.label_of(key) or 'NAME'}, or move the file into the folder of its label"
        )
    decision = Decision(
        key, str(row["etag"]), int(row["size"]), str(row["fingerprint"]), str(row["verdict"]), by, reason.strip(),
        datetime.now(UTC).isoformat(),
    )  # fmt: skip
    with database.transaction() as cursor:  # committed once the decision is kept
        audit.record(
            database, SUBJECT, moved_from=decision.verdict, moved_to=f"put back: {key}", actor=by, reason=decision.reason,
            evidence={"key": key, "etag": decision.etag, "fingerprint": decision.fingerprint}, cursor=cursor,
        )  # fmt: skip
        decisions.keep(store, settings, genre, decision)
    return f"{key} is {CHOSEN if decision.of_copies else READ_AGAIN}"


def drop(store: ObjectStore, settings: Settings, database: Database, key: str, *, by: str, reason: str) -> str:
    """Move a file in quarantine out of the raw bucket, to where `put_back` finds it. Returns what follows, for people.

    One that was interrupted is completed by asking again. Raises as `put_back` does.
    """
    _require(reason)
    _, row = _row_of(store, settings, key)
    if row is None:
        raise BadInput(f"{key} is not in quarantine; see: genre-assets quarantine")
    item = _require_same(store, settings, key, row)
    kept = keys.dropped(item.etag, key)
    with database.transaction() as cursor:
        audit.record(
            database, SUBJECT, moved_from=str(row["verdict"]), moved_to=f"dropped: {key}", actor=by, reason=reason.strip(),
            evidence={"key": key, "etag": item.etag, "kept": f"s3://{settings.features_bucket}/{kept}"}, cursor=cursor,
        )  # fmt: skip
        store.copy(settings.raw_bucket, key, settings.features_bucket, kept)
    store.delete(settings.raw_bucket, key)
    return f"{key} is dropped; undo it with: genre-assets quarantine --put-back"


def _bring_back(store: ObjectStore, settings: Settings, database: Database, key: str, by: str, reason: str) -> str:
    there = next((one for one in decisions.dropped(store, settings) if one.key == key), None)
    if there is None:
        raise BadInput(f"{key} is neither in quarantine nor was it dropped; see: genre-assets quarantine")
    if store.find(settings.raw_bucket, key) is not None:
        raise BadInput(f"another file has the key {key} now: move it, or the dropped one would replace it")
    with database.transaction() as cursor:
        audit.record(
            database, SUBJECT, moved_from="dropped", moved_to=f"put back: {key}", actor=by, reason=reason.strip(),
            evidence={"key": key, "etag": there.etag}, cursor=cursor,
        )  # fmt: skip
        store.copy(settings.features_bucket, there.kept_as, settings.raw_bucket, key)
    store.delete(settings.features_bucket, there.kept_as)
    return f"{key} is in the raw bucket again; the next refresh reads it"


def _require(reason: str) -> None:
    if not reason.strip():
        raise BadInput("say why: the reason goes into the audit table")


def _row_of(store: ObjectStore, settings: Settings, key: str) -> tuple[str, Mapping[str, Any] | None]:
    """The genre whose quarantine a key of the raw bucket may be in, and its row there."""
    folder = keys.label_of(key)
    genre = folder if folder in labels.names(store, settings) else labels.UNKNOWN
    frame = inventory.read(store, settings, genre, quarantine=True)
    rows = frame[frame["key"] == key].to_dict("records")
    return genre, {str(name): value for name, value in rows[0].items()} if rows else None


def _require_same(store: ObjectStore, settings: Settings, key: str, row: Mapping[str, Any]) -> ObjectInfo:
    """The object, if it is still what was refused."""
    item = store.find(settings.raw_bucket, key)
    if item is None:
        raise BadInput(f"{key} is not in the raw bucket any more; the next refresh forgets it")
    if (item.etag, item.size) != (row["etag"], row["size"]):
        raise BadInput(f"{key} was overwritten since it was refused: the next refresh reads what is there now")
    return item
