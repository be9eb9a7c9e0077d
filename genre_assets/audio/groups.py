"""`groups.csv` at the root of the raw bucket: which files are of one artist or album (columns key, group)."""

import csv
import io
from collections.abc import Mapping

from genre_assets import keys, text
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

COLUMNS = ("key", "group")


def read(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """Group by key, empty when there is no such file.

    Raises `BadInput` with the file and the line when it cannot be read: without it, a recording could stand on both
    sides of the split, so it is not left out.
    """
    try:
        data = store.get_bytes(settings.raw_bucket, keys.GROUPS)
    except FileNotFoundError:
        return {}
    rows = text.read_rows(data, f"s3://{settings.raw_bucket}/{keys.GROUPS}", COLUMNS)
    return {row["key"]: row["group"] for _, row in rows if row["group"]}


def add(store: ObjectStore, settings: Settings, more: Mapping[str, str]) -> int:
    """Add groups, in place of those that the keys had; returns how many were new or changed. Raises `BadInput`; see `read`."""
    before = read(store, settings)
    changed = {key for key, group in more.items() if before.get(key) != group}
    if changed:
        page = io.StringIO(newline="")
        csv.writer(page, lineterminator="\n").writerows([COLUMNS, *sorted((before | dict(more)).items())])
        store.put_bytes(settings.raw_bucket, keys.GROUPS, page.getvalue().encode(), "text/csv")
    return len(changed)
