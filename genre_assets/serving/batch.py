"""Batch inference: everything under an S3 prefix, answered by the live ensemble, into one Parquet. Resumable.

What is asked at once is a part, whose answers are stored as soon as they are there. A run takes each object's answer from
the stored parts if its ETag is still the same, and asks for the others: an interrupted run goes on where it was, and new
objects may come anywhere among the old ones.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.audio.find_audio import SUFFIXES
from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectInfo, ObjectStore
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.sync import GenreClient

if TYPE_CHECKING:
    import pandas as pd

PART = 64
ASKED_AGAIN = ("store_unavailable", "internal")  # errors that say nothing of the object


@dataclass(frozen=True)
class BatchResult:
    """What a batch run did."""

    key: str  # of the Parquet in the serving bucket
    items: int
    failed: int
    asked: int  # of the items, in this run
    parts: int
    parts_reused: int
    counts: dict[str, int]  # by genre


def predict_prefix(
    settings: Settings,
    store: ObjectStore,
    client: GenreClient,
    prefix: str,
    *,
    log: bool = False,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> BatchResult:
    """Answer every audio object under a prefix; the answers are in the order of the keys.

    `prefix` is `s3://bucket/prefix` of a bucket that the ensemble may read, or of keys in the raw bucket. With `log` the
    answers are in the prediction log as clients' are; without, they are evidence of nothing. `on_progress` is told how many
    objects have an answer, and of how many.

    Raises
    ------
    BadInput
        If the ensemble may not read the bucket, or no audio object has that prefix.
    """
    import pandas as pd

    bucket, prefix = _place(settings, prefix)
    objects = sorted((o for o in store.list(bucket, prefix) if _is_audio(o)), key=lambda o: o.key)
    if not objects:
        raise BadInput(
            f"no audio is under s3://{bucket}/{prefix}; audio is known by its ending: {', '.join(sorted(SUFFIXES))}"
        )
    name = prefix if bucket == settings.raw_bucket else f"s3://{bucket}/{prefix}"
    frames = _stored(store, settings.serving_bucket, keys.answers_parts(name), objects)
    reused, answered = len(frames), {pair for frame in frames for pair in zip(frame["key"], frame["etag"], strict=True)}
    unknown = [entry for entry in objects if (entry.key, entry.etag) not in answered]
    on_progress(len(answered), len(objects))
    for part in _parts(unknown):
        frames.append(_answer(client, bucket, part, log=log))
        store.write_parquet(settings.serving_bucket, keys.answers_part(name, _name(part)), frames[-1])
        answered.update((entry.key, entry.etag) for entry in part)
        on_progress(len(answered), len(objects))
    answers = pd.concat(frames, ignore_index=True).sort_values("key", ignore_index=True)
    store.write_parquet(settings.serving_bucket, keys.answers(name), answers)
    return BatchResult(
        key=keys.answers(name),
        items=len(answers),
        failed=int((answers["error"] != "").sum()),
        asked=len(unknown),
        parts=len(frames),
        parts_reused=reused,
        counts={str(genre): int(n) for genre, n in answers.loc[answers["error"] == "", "genre"].value_counts().items()},
    )


def _place(settings: Settings, prefix: str) -> tuple[str, str]:
    """Bucket and prefix of the keys. Raises `BadInput` if the ensemble may not read the bucket."""
    bucket, rest = settings.raw_bucket, prefix
    if prefix.startswith("s3://"):
        bucket, _, rest = prefix.removeprefix("s3://").partition("/")
    if bucket not in settings.allowed_buckets:
        allowed = ", ".join(settings.allowed_buckets)
        raise BadInput(
            f"the ensemble may not read bucket {bucket!r}; allowed (GENRE_SERVING_ALLOWED_BUCKETS): {allowed}"
        )
    return bucket, rest


def _is_audio(entry: ObjectInfo) -> bool:
    return entry.key.lower().endswith(tuple(SUFFIXES))


def _stored(store: ObjectStore, bucket: str, parts: str, objects: list[ObjectInfo]) -> "list[pd.DataFrame]":
    """The answers to these objects that are stored, each object's once. Parts of which none is needed are removed."""
    wanted = {(entry.key, entry.etag) for entry in objects}
    frames = []
    for entry in list(store.list(bucket, parts)):
        frame = store.read_parquet(bucket, entry.key)
        pairs = list(zip(frame["key"], frame["etag"], strict=True))
        if wanted.isdisjoint(pairs):
            store.delete(bucket, entry.key)
            continue
        again = frame["error"].str.startswith(ASKED_AGAIN)
        mine = [pair in wanted and not passing for pair, passing in zip(pairs, again, strict=True)]
        wanted -= {pair for pair, taken in zip(pairs, mine, strict=True) if taken}
        if any(mine):
            frames.append(frame[mine])
    return frames


def _answer(client: GenreClient, bucket: str, part: list[ObjectInfo], *, log: bool) -> "pd.DataFrame":
    import pandas as pd

    predictions = client.predict([f"s3://{bucket}/{entry.key}" for entry in part], log=log)
    rows = [_row(entry, given, client.labels) for entry, given in zip(part, predictions, strict=True)]
    return pd.DataFrame(rows)


def _row(entry: ObjectInfo, given: Prediction, labels: list[str]) -> dict[str, object]:
    probabilities = {f"prob_{label}": given.probabilities.get(label, math.nan) for label in labels}
    return {
        "key": entry.key, "etag": entry.etag, "genre": given.label, **probabilities,
        "model": given.model, "version": given.version, "error": given.error,
    }  # fmt: skip


def _parts(objects: list[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    for start in range(0, len(objects), PART):
        yield objects[start : start + PART]


def _name(part: list[ObjectInfo]) -> str:
    return hashlib.sha256("".join(f"{o.key}\0{o.etag}\n" for o in part).encode()).hexdigest()[:16]
