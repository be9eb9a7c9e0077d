"""A label's table as one object or, once it is large, in parts by a prefix of the content hash.

A change of one clip then writes one part of sixteen (or 256), not the whole table. A part's name has a digest of its rows, so a new
version of it stands beside the old one: what is read is what the manifest names, which is written after the parts, and
what it names no more is removed after it. A process may die anywhere.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from genre_assets import keys
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

Parts = Mapping[str, str]  # prefix of the content hash -> digest of the rows; none for a table in one object
Read = TypeVar("Read")

SIXTEEN_FROM, MANY_FROM = (
    25_000,
    400_000,
)  # files of a label: below, what reading parts costs is more than writing them saves
AT_ONCE = 8  # parts that are read or written at once
TRIES = 3


def of(table: "pd.DataFrame", files: int, identity: Sequence[str], method: str) -> dict[str, str]:
    """The parts of a table over so many files; rows that agree in the columns of `identity`, and were made so, are the same."""
    digits = (files >= SIXTEEN_FROM) + (files >= MANY_FROM)
    if not digits:
        return {}
    lines: dict[str, list[str]] = {}
    columns = [table[name].astype(str) for name in identity]
    for prefix, *values in zip(_prefixes(table, digits), *columns, strict=True):
        lines.setdefault(prefix, []).append("\t".join(values))
    return {prefix: _digest([method, *sorted(rows)]) for prefix, rows in sorted(lines.items())}


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _prefixes(table: "pd.DataFrame", digits: int) -> list[str]:
    """Of each row. A file that was not read has no hash, and is in the first part."""
    return [fingerprint[:digits] or "0" * digits for fingerprint in table["fingerprint"]]


def write(store: ObjectStore, bucket: str, key: str, table: "pd.DataFrame", parts: Parts) -> None:
    """Write the parts that are not there, or the one object `key`."""
    if not parts:
        store.write_parquet(bucket, key, table)
        return
    there = _there(store, bucket, key)
    wanted = _names(key, parts)
    rows = table.groupby(_prefixes(table, len(next(iter(parts)))), sort=False).indices

    def put(prefix: str) -> None:
        store.write_parquet(bucket, wanted[prefix], table.iloc[rows[prefix]])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(put, [prefix for prefix, name in wanted.items() if name not in there]))


def sweep(store: ObjectStore, bucket: str, key: str, parts: Parts) -> None:
    """Remove the table's objects of before, once its manifest names these parts, or none."""
    for name in sorted(_there(store, bucket, key) - {*(_names(key, parts).values() if parts else (key,))}):
        store.delete(bucket, name)
    reached(Step.FEATURES_SWEPT)


def _names(key: str, parts: Parts) -> dict[str, str]:
    return {prefix: keys.part(key, prefix, digest) for prefix, digest in parts.items()}


def _there(store: ObjectStore, bucket: str, key: str) -> set[str]:
    return {entry.key for entry in store.list(bucket, keys.parts(key)) if entry.key.endswith(".parquet")}


def read(store: ObjectStore, bucket: str, key: str, parts: Parts, order: Sequence[str]) -> "pd.DataFrame":
    """The whole table; one that is in parts is in the `order` of these columns. Raises `FileNotFoundError`, `DamagedObject`."""
    import pandas as pd

    if not parts:
        return store.read_parquet(bucket, key)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        tables = list(threads.map(lambda name: store.read_parquet(bucket, name), _names(key, parts).values()))
    return pd.concat(tables).sort_values(list(order), kind="stable", ignore_index=True)


def as_named(parts: Callable[[], Parts], reader: Callable[[Parts], Read]) -> Read:
    """What `reader` makes of the parts that are named now; again if they were replaced while it read.

    Raises `FileNotFoundError` if a part is missing that is named still.
    """
    named = parts()
    for _ in range(TRIES):
        try:
            return reader(named)
        except FileNotFoundError:
            before, named = named, parts()
            if named == before:
                raise
    return reader(named)
