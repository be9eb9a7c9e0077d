"""Bringing the feature tables up to date with the inventory, computing only what was never computed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from genre_assets import labels
from genre_assets.audio.decoding.reasons import AudioError
from genre_assets.audio.extract import Limits, extract_item, feature_set_named
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import features, inventory
from genre_assets.audio.tables.checkpoint import saving
from genre_assets.audio.tables.fetch import fetched
from genre_assets.audio.tables.rows import KeptRows, Made, NoFeatures, Rows
from genre_assets.audio.workers.pool import Lost, MapTasks, Progress, map_files
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Wanted:
    """A file whose features are to be computed."""

    fingerprint: str
    key: str
    size: int


@dataclass
class Computed:
    """What came of computing: rows by fingerprint, files without features and why, and the time for each key."""

    rows: dict[str, Rows] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)  # key -> what happened to it since it was inventoried
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did."""

    tables: "dict[str, pd.DataFrame]"  # of the genres asked for, and of others that were due
    written: frozenset[str]  # genres whose table is another than before
    extracted: int  # files whose features are new here
    before: int  # of those: computed when `raw_audio` read the file, or by a run that was interrupted
    reused: int  # files whose features were in the tables
    failed: dict[str, str]  # fingerprint or key -> why it has no features
    rate: float  # files a second
    slowest: tuple[tuple[str, float], ...]  # key, seconds


def refresh(
    store: ObjectStore,
    settings: Settings,
    genres: Sequence[str],
    *,
    say: Callable[[str], object] = lambda _: None,
    map_tasks: MapTasks = map_files,
    index: RecordingIndex | None = None,
) -> Refreshed:
    """Bring the feature tables of `genres`, and of any other genre whose inventory changed under it, up to date.

    The `index` says in which other genres' tables the rows of a file may be found; without one, all are read. Raises
    `TransientFailure` if S3 or the index's database is away.
    """
    known_genres = labels.names(store, settings)
    manifests = {genre: features.read_manifest(store, settings, genre) for genre in known_genres}
    due = [genre for genre in known_genres if genre in genres or _is_stale(store, settings, genre, manifests[genre])]
    files = {genre: inventory.usable(inventory.read(store, settings, genre)) for genre in due}
    gone = [genre for genre in features.stored_genres(store, settings) if genre not in known_genres]
    made = manifests | {genre: features.read_manifest(store, settings, genre) for genre in gone}
    usable = {genre for genre, manifest in made.items() if manifest and features.same_method(settings, manifest)}
    left_out = {name: why for genre in usable for name, why in made[genre].left_out.items()}  # type: ignore[union-attr]
    kept = KeptRows(store, settings, features.method(settings))
    known, lost = _known(store, settings, usable & set(due))
    new = {made.fingerprint: made for made in kept.read() if made.fingerprint not in known}
    known |= {name: made.outcome for name, made in new.items() if isinstance(made.outcome, Rows)}
    left_out |= {name: made.outcome.why for name, made in new.items() if isinstance(made.outcome, NoFeatures)}
    wanted = _wanted(files.values(), {*known, *left_out})
    if wanted:  # a file may have come from another genre, or from one that has another name now
        held = index.holders([task.fingerprint for task in wanted]) if index else set(known_genres)
        known |= _known(store, settings, usable & (held | set(gone)) - set(due))[0]
        wanted = _wanted(files.values(), {*known, *left_out})
    progress = Progress("features", len(wanted), say)
    computed = compute(settings, wanted, progress, kept, map_tasks)
    known |= computed.rows
    left_out |= computed.left_out
    tables, written = {}, set()
    for genre in due:
        tables[genre] = features.compose(files[genre], genre, feature_set_named(settings.feature_set), known)
        manifest = features.manifest_for(
            settings, genre, files[genre], tables[genre], left_out, computed.gone,
            inventory.usable_digest(files[genre]),
        )  # fmt: skip
        if manifest != manifests[genre] or genre in lost:
            features.write(store, settings, manifest, tables[genre])
            written.add(genre)
        features.sweep(store, settings, manifest)
    kept.forget(but_of=set(known_genres) - set(due))
    names = {name for genre in due for name in files[genre]["fingerprint"]}
    waited = {made.key: made.seconds for name, made in new.items() if name in names}
    slowest = sorted((waited | computed.seconds).items(), key=lambda item: -item[1])[:5]
    return Refreshed(
        tables,
        frozenset(written),
        extracted=len(computed.rows) + len(waited),
        before=len(waited),
        reused=sum(len(files[genre]) for genre in due) - len(wanted) - len(waited),
        failed={**computed.gone, **left_out},
        rate=progress.rate,
        slowest=tuple(slowest),
    )


def compute(
    settings: Settings, wanted: Sequence[Wanted], progress: Progress, kept: KeptRows, map_tasks: MapTasks
) -> Computed:
    """The features of files, on all cores of this machine, or wherever `map_tasks` takes them."""
    done = Computed()
    with saving(kept.save) as save_if_due:
        for task, result in map_tasks(partial(extract_object, settings), wanted, settings=settings):
            progress.advance()
            if isinstance(result, str):
                done.gone[task.key] = result
            elif isinstance(result, Lost):
                done.left_out[task.fingerprint] = result.why
            elif isinstance(result.outcome, Rows):
                done.rows[task.fingerprint], done.seconds[task.key] = result.outcome, result.seconds
                kept.add(result)
            else:
                done.left_out[task.fingerprint] = result.outcome.why
            save_if_due()
    return done


def extract_object(settings: Settings, store: ObjectStore, task: Wanted) -> Made | str:
    """What computing the features of one object gave; or what happened to it. Runs in a worker."""
    try:
        with fetched(store, settings, task.key, task.size) as source:
            item = extract_item(source, feature_set=settings.feature_set, limits=Limits.from_settings(settings))
    except FileNotFoundError:
        return "deleted since it was inventoried"
    except AudioError as error:
        return Made(task.fingerprint, task.key, NoFeatures(str(error)), 0.0)
    if item.fingerprint != task.fingerprint:
        return "overwritten since it was inventoried"
    return Made(task.fingerprint, task.key, Rows(item.segments, item.features), item.decode_s + item.extract_s)


def _is_stale(store: ObjectStore, settings: Settings, genre: str, manifest: features.Manifest | None) -> bool:
    """Whether the features were made from other files than the inventory has, by what both say of themselves."""
    claim = inventory.read_claim(store, settings, genre) if manifest is not None else None
    return manifest is not None and claim is not None and manifest.content != claim.usable


def _known(store: ObjectStore, settings: Settings, genres: Iterable[str]) -> tuple[dict[str, Rows], set[str]]:
    """The rows in the stored tables of these genres, and those whose table is not there, whatever its manifest says."""
    rows: dict[str, Rows] = {}
    lost: set[str] = set()
    columns = feature_set_named(settings.feature_set).columns
    for genre in sorted(genres):
        try:
            rows |= features.rows_of(features.read(store, settings, genre), columns)
        except FileNotFoundError:
            lost.add(genre)
    return rows, lost


def _wanted(tables: "Iterable[pd.DataFrame]", known: set[str]) -> list[Wanted]:
    found: dict[str, Wanted] = {}
    for files in tables:
        for fingerprint, key, size in zip(files["fingerprint"], files["key"], files["size"], strict=True):
            if fingerprint not in known:
                found[fingerprint] = Wanted(fingerprint, key, int(size))
    return list(found.values())
