"""The inventory of the raw bucket: a row for each object, with its facts and verdict; and its excerpt, the quarantine.

Incremental: an object that is listed as it was is not read again. A new file in one genre can change the verdict on a file
of another; that genre's table is then written again as well, so that every stored table is right by itself.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from genre_assets import keys, labels
from genre_assets.audio.decoding.reasons import OK, Reason
from genre_assets.audio.extract import Limits
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import decisions, features, listing, one_pass, parts, settlement
from genre_assets.audio.tables.checkpoint import Checkpoint, records
from genre_assets.audio.tables.inspect_file import Inspection, refused, rules
from genre_assets.audio.tables.rows import KeptRows
from genre_assets.audio.workers.pool import Lost, MapTasks, Progress, map_files
from genre_assets.errors import DamagedObject
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectInfo, ObjectStore

if TYPE_CHECKING:
    import pandas as pd

_Identity = tuple[str, str, int]  # key, ETag, size

COLUMNS: dict[str, str] = {
    "key": "str",
    "etag": "str",
    "size": "int64",
    "last_modified": "datetime64[us, UTC]",
    "fingerprint": "str",
    "recording": "str",
    "duration_s": "float64",
    "sample_rate": "int32",
    "channels": "int32",
    "format": "str",
    "verdict": "str",
    "detail": "str",
    "signature": "object",
    "rules": "str",
}


LISTED = ("key", "etag", "size", "last_modified", "rules")


def table(rows: Iterable[dict[str, object]]) -> "pd.DataFrame":
    """Rows as a table with the inventory's columns and types, however few they are."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(COLUMNS)


def read(store: ObjectStore, settings: Settings, genre: str, *, quarantine: bool = False) -> "pd.DataFrame":
    """The stored inventory of a genre (or its quarantine); an empty table if there is none yet."""
    bucket, key = settings.features_bucket, keys.inventory(genre)

    def named() -> parts.Parts:
        claim = read_claim(store, settings, genre)
        return claim.parts if claim is not None else {}

    try:
        if quarantine:
            return store.read_parquet(bucket, keys.quarantine(genre))
        return parts.as_named(named, lambda these: parts.read(store, bucket, key, these, ["key"]))
    except FileNotFoundError:
        return table([])


def read_all(store: ObjectStore, settings: Settings, *, quarantine: bool = False) -> "pd.DataFrame":
    """All genres' inventories (or the whole quarantine) in one table, with a column `genre`."""
    import pandas as pd

    genres = [*labels.names(store, settings), *([labels.UNKNOWN] if quarantine else [])]
    tables = [read(store, settings, genre, quarantine=quarantine).assign(genre=genre) for genre in genres]
    return pd.concat(tables or [table([]).assign(genre="")], ignore_index=True)


@dataclass(frozen=True)
class Claim:
    """What a stored inventory says of itself, small enough to be read at every tick of a sensor."""

    listing: str  # digest of the objects that it was made from
    rules: str
    files: int
    usable: str  # digest of the usable files: what the features must be made from
    verdicts: str  # digest of all verdicts
    parts: dict[str, str] = field(default_factory=dict)  # of a large inventory, as `parts.of` names them


@dataclass
class Update:
    """What an update did."""

    tables: "dict[str, pd.DataFrame]"  # of the genres asked for
    written: frozenset[str]  # genres whose table is another than before, among them some that nobody asked for
    inspected: int = 0
    extracted: int = 0  # of those inspected: whose features were computed in the same pass
    unchanged: int = 0
    unknown: int = 0
    seconds: float = 0.0


def update(
    store: ObjectStore,
    settings: Settings,
    genres: Sequence[str],
    *,
    say: Callable[[str], object] = lambda _: None,
    map_tasks: MapTasks = map_files,
    index: RecordingIndex | None = None,
) -> Update:
    """Bring the inventories of `genres` up to date with the raw bucket.

    The `index` says whose verdicts may have changed; without one, all inventories are read and settled, with the same
    result. Raises `TransientFailure` if S3 or the index's database is away.
    """
    label_set = labels.read(store, settings)
    # One may have been removed since the run was asked for.
    genres = [genre for genre in genres if genre in label_set.names]
    found = listing.of_genres(store, settings.raw_bucket, label_set.names, genres)
    stored = cache(partial(read, store, settings))
    checkpoint = Checkpoint(store, settings, "inventory")
    interrupted = checkpoint.rows()
    asked, chosen = decisions.waiting(store, settings, genres), decisions.chosen(store, settings)
    known = _known(settings, [*interrupted, *(row for genre in genres for row in records(stored(genre)))])
    for again in (item for genre in genres for item in found[genre] if asked.is_wanted(item)):
        known.pop(_identity(again), None)
    new = [item for genre in genres for item in found[genre] if _identity(item) not in known]
    progress = Progress("raw_audio", len(new), say)
    looked = one_pass.look_at(
        settings, new, _held(store, settings, genres, stored) if new else (),
        KeptRows(store, settings, features.method(settings)),
        lambda done: checkpoint.save([*interrupted, *_rows(settings, done)]), progress, map_tasks,
    )  # fmt: skip
    known |= {(row["key"], row["etag"], row["size"]): row for row in _rows(settings, looked)}
    fresh = {genre: table(_present(found[genre], known)) for genre in genres}
    claims = {genre: read_claim(store, settings, genre) for genre in label_set.names}
    if index is None:
        settled = settlement.over_all({genre: stored(genre) for genre in label_set.names} | fresh, chosen)
    else:
        names = {genre: settlement.name_of(claim) for genre, claim in claims.items()}
        settled = settlement.by_index(index, fresh, stored, names, chosen, asked.contents())
    tables = {genre: frame.astype(COLUMNS) for genre, frame in settled.tables.items()}
    also = [g for g in tables if g not in fresh and _is_other(settings, tables[g], stored(g), claims[g])]
    lost = [g for g in fresh if len(stored(g)) != len(tables[g])]  # or changed, which the claims show too
    written = [g for g in fresh if g in lost or claims[g] != claim_on(settings, tables[g])] + also
    for genre in written:
        claims[genre] = write(store, settings, genre, tables[genre])
    for genre in {*fresh, *written}:  # those as well whose writer was killed before it did
        claim = claims[genre]
        parts.sweep(store, settings.features_bucket, keys.inventory(genre), claim.parts if claim else {})
    if index is not None and settled.due is not None:
        named = {genre: settlement.name_of(claims[genre]) for genre in {*fresh, *settled.behind, *written}}
        index.settled(settled.due, named)
        reached(Step.FEATURES_SETTLED)
    _write_unknown(store, settings, label_set.names, found[labels.UNKNOWN])
    decisions.carried_out(store, settings, asked)
    checkpoint.remove()
    return Update(
        {genre: tables[genre] for genre in genres},
        frozenset(written),
        inspected=len(new),
        unchanged=sum(len(found[genre]) for genre in genres) - len(new),
        extracted=looked.extracted,
        unknown=len(found[labels.UNKNOWN]),
        seconds=progress.seconds,
    )


def write(store: ObjectStore, settings: Settings, genre: str, frame: "pd.DataFrame") -> Claim:
    """Write the inventory of a genre: its quarantine first, so that a bad file is never in neither; its claim last."""
    store.write_parquet(settings.features_bucket, keys.quarantine(genre), frame[frame["verdict"] != OK])
    reached(Step.FEATURES_QUARANTINE)
    claim, key = claim_on(settings, frame), keys.inventory(genre)
    parts.write(store, settings.features_bucket, key, frame, claim.parts)
    reached(Step.FEATURES_INVENTORY)
    _write_claim(store, settings, genre, claim)
    reached(Step.FEATURES_CLAIM)
    return claim


def usable(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The files of an inventory that can be used, in the order of their keys."""
    return frame[frame["verdict"] == OK].sort_values("key", ignore_index=True)


def usable_digest(files: "pd.DataFrame") -> str:
    """A digest of usable files: changes when the features to be made from them do."""
    lines = [*files["key"], *files["fingerprint"], *files["recording"]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def rules_of(settings: Settings) -> str:
    """The name of the rules by which verdicts are made under these settings."""
    return rules(Limits.from_settings(settings))


def read_claim(store: ObjectStore, settings: Settings, genre: str) -> Claim | None:
    """The claim of a stored inventory, or of the quarantine of `unknown`; None if there is none, or none that is whole."""
    try:
        return Claim(**store.read_json(settings.features_bucket, keys.inventory_manifest(genre)))
    except (FileNotFoundError, DamagedObject, TypeError):  # a genre without a claim is due, which mends it
        return None


def claim_on(settings: Settings, frame: "pd.DataFrame") -> Claim:
    """What a table that holds these rows may claim."""
    rows = zip(frame["key"], frame["etag"], frame["size"], frame["last_modified"], strict=True)
    verdicts = "\n".join(f"{key}\t{verdict}\t{detail}" for key, verdict, detail in _verdicts(frame))
    return Claim(
        listing=listing.digest(ObjectInfo(*row) for row in rows),
        rules=rules_of(settings),
        files=len(frame),
        usable=usable_digest(usable(frame)),
        verdicts=hashlib.sha256(verdicts.encode()).hexdigest()[:16],
        parts=parts.of(frame, len(frame), (*LISTED, "fingerprint", *settlement.FACTS), rules_of(settings)),
    )


def _verdicts(frame: "pd.DataFrame") -> Iterable[tuple[str, str, str]]:
    return zip(frame["key"], frame["verdict"], frame["detail"], strict=True)


def _write_claim(store: ObjectStore, settings: Settings, genre: str, claim: Claim) -> None:
    store.write_json(settings.features_bucket, keys.inventory_manifest(genre), asdict(claim))


def _identity(item: ObjectInfo) -> _Identity:
    return item.key, item.etag, item.size


def _known(settings: Settings, rows: Iterable[dict[str, Any]]) -> dict[_Identity, dict[str, Any]]:
    """Rows made by today's rules, by what the object looked like in the listing."""
    return {(row["key"], row["etag"], row["size"]): row for row in rows if row["rules"] == rules_of(settings)}


def _present(items: Iterable[ObjectInfo], known: dict[_Identity, dict[str, Any]]) -> list[dict[str, Any]]:
    return [known[_identity(item)] for item in items if _identity(item) in known]


def _held(
    store: ObjectStore, settings: Settings, genres: Sequence[str], stored: "Callable[[str], pd.DataFrame]"
) -> set[one_pass.Content]:
    """The contents whose features are in the tables of these genres, or of labels that are gone, as they would be made now."""
    gone = set(features.stored_genres(store, settings)) - set(labels.names(store, settings))
    held: set[one_pass.Content] = set()
    for genre in {*genres, *gone}:
        manifest = features.read_manifest(store, settings, genre)
        if manifest is not None and features.same_method(settings, manifest):
            files = usable(stored(genre))
            held |= set(zip(files["etag"], files["size"].tolist(), strict=True))
    return held


def _rows(settings: Settings, looked: one_pass.Pass) -> list[dict[str, Any]]:
    return [_row(item, inspection, rules_of(settings)) for item, inspection in looked.rows]


def _row(item: ObjectInfo, inspection: Inspection | Lost, by_rules: str) -> dict[str, Any]:
    """One row of the inventory. A file that killed its worker counts as undecodable, and is tried again next time."""
    if isinstance(inspection, Lost):
        inspection, by_rules = refused(Reason.UNDECODABLE, f"decoding it failed badly: {inspection.why}"), ""
    listed = {"key": item.key, "etag": item.etag, "size": item.size, "last_modified": item.last_modified}
    return {**listed, **inspection.as_row(), "rules": by_rules}


def _is_other(settings: Settings, frame: "pd.DataFrame", stored: "pd.DataFrame", claim: Claim | None) -> bool:
    """Whether the verdicts in an inventory that nobody asked for are others than those stored, or than those claimed."""
    facts = ["key", "verdict", "detail", "recording"]
    if not frame[facts].equals(stored[facts].reset_index(drop=True)):
        return True
    made = claim_on(settings, frame)
    return claim is not None and (claim.usable, claim.verdicts) != (made.usable, made.verdicts)


def _write_unknown(store: ObjectStore, settings: Settings, genres: Sequence[str], items: Sequence[ObjectInfo]) -> None:
    said = f"its folder is no label's ({', '.join(genres) or 'there is none'}); genre-assets labels add makes it one"
    refusal = refused(Reason.UNKNOWN_GENRE, said)
    frame = table(_row(item, refusal, rules_of(settings)) for item in items)
    store.write_parquet(settings.features_bucket, keys.quarantine(labels.UNKNOWN), frame)
    _write_claim(store, settings, labels.UNKNOWN, replace(claim_on(settings, frame), parts={}))
