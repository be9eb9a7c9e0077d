"""`groups.csv` at the root of the raw bucket: which files are of one artist or album (columns key, group, source).

`source` is `tags` for a group that was read from the file's own tags, and empty for one that somebody stated.
"""

import csv
import io
import unicodedata
from collections.abc import Mapping

from genre_assets import keys, text
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

COLUMNS = ("key", "group")
SOURCE = "source"
FROM_TAGS = "tags"
NOBODY = frozenset(
    {"various artists", "various", "va", "v.a.", "unknown", "unknown artist", "unknown album", "artist", "album", "n/a", "none", "-"}
)  # fmt: skip


def read(store: ObjectStore, settings: Settings) -> dict[str, str]:
    """Group by key, empty when there is no such file.

    Raises `BadInput` with the file and the line when it cannot be read: without it, a recording could stand on both
    sides of the split, so it is not left out.
    """
    return {key: group for key, (group, _) in _read(store, settings).items()}


def add(store: ObjectStore, settings: Settings, more: Mapping[str, str]) -> int:
    """Add groups, in place of those that the keys had; returns how many were new or changed. Raises `BadInput`; see `read`."""
    before = _read(store, settings)
    changed = {key: (group, "") for key, group in more.items() if before.get(key, ("",))[0] != group}
    stated = {key: (group, "") for key, group in more.items()}
    if changed or any(before[key] != row for key, row in stated.items()):
        _write(store, settings, before | stated)
    return len(changed)


def add_from_tags(store: ObjectStore, settings: Settings, more: Mapping[str, str]) -> int:
    """Add groups that files say of themselves, for keys that have none; returns how many. Raises `BadInput`; see `read`.

    One that is there already in other spelling is meant by it.
    """
    before = _read(store, settings)
    spelled = {normalised(group): group for group, _ in before.values()}
    new = {key: (spelled.get(group, group), FROM_TAGS) for key, group in more.items() if key not in before}
    if new:
        _write(store, settings, before | new)
    return len(new)


def add_for_copies(store: ObjectStore, settings: Settings, copies: Mapping[str, str]) -> None:
    """Give copies (key -> key of the copy) the groups of what they are copies of. Raises `BadInput`; see `read`."""
    before = _read(store, settings)
    rows = {copy: before[key] for key, copy in copies.items() if key in before}
    if rows:
        _write(store, settings, before | rows)


def of_tags(tags: Mapping[str, str]) -> str:
    """The group that a file's tags name: its artist, else its album; empty for none, or for `Various Artists`."""
    for name in ("artist", "album_artist", "album"):
        said = normalised(tags.get(name, ""))
        if said and said not in NOBODY:
            return f"album: {said}" if name == "album" else said
    return ""


def normalised(name: str) -> str:
    """A name without its spelling: case, width of letters, blanks and what is not printed."""
    printable = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFKC", name))
    return " ".join(printable.casefold().split())


def _read(store: ObjectStore, settings: Settings) -> dict[str, tuple[str, str]]:
    """(group, source) by key."""
    try:
        data = store.get_bytes(settings.raw_bucket, keys.GROUPS)
    except FileNotFoundError:
        return {}
    rows = text.read_rows(data, f"s3://{settings.raw_bucket}/{keys.GROUPS}", COLUMNS, optional=(SOURCE,))
    return {row["key"]: (row["group"], row[SOURCE]) for _, row in rows if row["group"]}


def _write(store: ObjectStore, settings: Settings, rows: Mapping[str, tuple[str, str]]) -> None:
    page = io.StringIO(newline="")
    lines = [(key, *row) for key, row in sorted(rows.items())]
    csv.writer(page, lineterminator="\n").writerows([(*COLUMNS, SOURCE), *lines])
    store.put_bytes(settings.raw_bucket, keys.GROUPS, page.getvalue().encode(), "text/csv")
