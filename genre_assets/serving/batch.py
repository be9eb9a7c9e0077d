"""Batch inference: everything under an S3 prefix, answered by the live ensemble, into one Parquet. Resumable.

The objects are taken in parts; a part's answers are stored under a hash of its keys and ETags, so a second run asks only
for what is new or changed, and an interrupted one goes on where it was.
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


@dataclass(frozen=True)
class BatchResult:
    """What a batch run did."""

    key: str  # of the Parquet in the serving bucket
    items: int
    failed: int
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
    """Answer every audio object under `s3://<raw bucket>/<prefix>`; the answers are in the order of the keys.

    With `log` they are in the prediction log as clients' are; without, they are evidence of nothing.

    Raises
    ------
    BadInput
        If no audio object has that prefix.
    """
    import pandas as pd

    listed = store.list(settings.raw_bucket, prefix)
    objects = sorted((o for o in listed if o.key.lower().endswith(tuple(SUFFIXES))), key=lambda o: o.key)
    if not objects:
        raise BadInput(f"no audio is under s3://{settings.raw_bucket}/{prefix}")
    present = {entry.key for entry in store.list(settings.serving_bucket, keys.answers_parts(prefix))}
    frames, reused, done = [], 0, 0
    for part in _parts(objects):
        key = keys.answers_part(prefix, _name(part))
        if key in present:
            frames.append(store.read_parquet(settings.serving_bucket, key))
            reused += 1
        else:
            frames.append(_answer(client, settings.raw_bucket, part, log=log))
            store.write_parquet(settings.serving_bucket, key, frames[-1])
        done += len(part)
        on_progress(done, len(objects))
    answers = pd.concat(frames, ignore_index=True)
    store.write_parquet(settings.serving_bucket, keys.answers(prefix), answers)
    return BatchResult(
        key=keys.answers(prefix),
        items=len(answers),
        failed=int((answers["error"] != "").sum()),
        parts=len(frames),
        parts_reused=reused,
        counts={str(genre): int(n) for genre, n in answers.loc[answers["error"] == "", "genre"].value_counts().items()},
    )


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
