"""`splits.csv` at the root of the raw bucket: which files train and which are held out, where somebody says (columns key, split)."""

import csv
import io
from collections.abc import Mapping

from genre_assets import keys, text
from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

SPLITS = ("train", "validation", "test")
COLUMNS = ("key", "split")


def checked(split: str, where: str) -> str:
    """The name of a split as the platform writes it. Raises `BadInput`, which says `where`, for another."""
    name = split.strip().lower()
    if name not in SPLITS:
        raise BadInput(f"{where}: unknown split {text.visible(split)!r}; known are {', '.join(SPLITS)}")
    return name


def read(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """Split by key, empty when there is no such file. Raises `BadInput` with the file and the line when it cannot be read."""
    name = f"s3://{settings.raw_bucket}/{keys.SPLITS}"
    try:
        data = store.get_bytes(settings.raw_bucket, keys.SPLITS)
    except FileNotFoundError:
        return {}
    rows = text.read_rows(data, name, COLUMNS)
    return {row["key"]: checked(row["split"], f"{name}, line {line}") for line, row in rows if row["split"]}


def add(store: ObjectStore, settings: Settings, more: Mapping[str, str]) -> int:
    """Add splits, in place of those that the keys had; returns how many were new or changed. Raises `BadInput`; see `read`."""
    before = read(store, settings)
    changed = {key for key, split in more.items() if before.get(key) != split}
    if changed:
        page = io.StringIO(newline="")
        csv.writer(page, lineterminator="\n").writerows([COLUMNS, *sorted((before | dict(more)).items())])
        store.put_bytes(settings.raw_bucket, keys.SPLITS, page.getvalue().encode(), "text/csv")
    return len(changed)


def check_groups(group_of: Mapping[str, str], split_of: Mapping[str, str]) -> None:
    """Raise `BadInput` for a group (by key) of which files are in two splits (by key): one of them would tell of the other."""
    first: dict[str, str] = {}
    for key in sorted(split_of):
        group = group_of.get(key)
        if group is None:
            continue
        other = first.setdefault(group, key)
        if split_of[other] != split_of[key]:
            raise BadInput(
                f"the group {text.visible(group)!r} would be in two splits: {text.visible(other)} is in {split_of[other]}, "
                f"{text.visible(key)} in {split_of[key]}. Files of one artist or album belong in one: change the column split of "
                f"metadata.csv, or their group (groups.csv; --no-tags if it comes from their tags)"
            )
