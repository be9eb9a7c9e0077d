"""Lists of labels as people hand them in: CSV, or what Label Studio exports. Read with every fault named, sent to S3."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.errors import BadInput
from genre_assets.labels import LabelSet
from genre_assets.serving.feedback import label_studio
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.text import read_rows, visible

COLUMNS = ("request_id", "item", "genre")
LABELLED_BY = "labelled_by"
LONGEST_REQUEST_ID = 200
LONGEST_NAME = 200


@dataclass(frozen=True)
class GivenLabel:
    """What one person said of one item. `labelled_by` is empty where the list does not say who."""

    request_id: str
    item: int
    label: str
    labelled_by: str = ""


def read_labels(data: bytes, name: str, known: LabelSet) -> list[GivenLabel]:
    """The labels of a list, each by its name in the set. Raises `BadInput` with the line of the first bad one."""
    return _known(_parsed(data, name), known)


def take_labels(
    path: Path, store: ObjectStore, settings: Settings, now: datetime | None = None, *, by: str = ""
) -> tuple[str, int]:
    """Send the labels of a filled-in list to the object store; rows without a genre are left out.

    `by` says who gave those of which the list does not say it. Returns the key and how many labels it holds.

    Raises
    ------
    BadInput
        When the file cannot be read, columns are missing, a genre is unknown (with its line), or no row has a genre.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    said = _parsed(data, str(path))  # first: what is wrong with a file is told without asking S3 for anything
    if not said:
        raise BadInput(f"{path}: no row has a genre yet")
    named = [(where, one if one.labelled_by else replace(one, labelled_by=by)) for where, one in said]
    return send_labels(named, store, settings, now), len(named)


def send_labels(said: Iterable["Said"], store: ObjectStore, settings: Settings, now: datetime | None = None) -> str:
    """Send labels, each with the place where it was said, to the object store; returns the key.

    Raises `BadInput` with the place of the first whose label is not in the label set; nothing is sent then.
    """
    content = _as_csv(_known(said, label_set.read(store, settings)))
    key = keys.label_file(now or datetime.now(UTC), content)
    store.put_bytes(settings.raw_bucket, key, content, "text/csv")
    return key


def _as_csv(labels: Iterable[GivenLabel]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*COLUMNS, LABELLED_BY])
    writer.writerows((one.request_id, one.item, one.label, one.labelled_by) for one in labels)
    return buffer.getvalue().encode()


Said = tuple[str, GivenLabel]
"""Where it stands in the list, and what is written there: the label is not looked up yet."""


def _parsed(data: bytes, name: str) -> Sequence[Said]:
    """Each row that is filled in."""
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        found = label_studio.read_export(data, name)
        return [_checked(where, one.request_id, str(one.item), one.label, one.labelled_by) for where, one in found]
    said = []
    for line, row in read_rows(data, name, COLUMNS, optional=(LABELLED_BY,)):
        text = row["genre"].strip()
        if text:
            where = f"{visible(name)}, line {line}"
            said.append(_checked(where, row["request_id"].strip(), row["item"].strip(), text, row[LABELLED_BY].strip()))
    return said


def _checked(where: str, request_id: str, item: str, text: str, by: str) -> Said:
    if not (item.isascii() and item.isdigit() and len(item) < 10):
        raise BadInput(f"{where}: item {item[:50]!r} is no number of an item")
    if not 0 < len(request_id) <= LONGEST_REQUEST_ID:
        raise BadInput(f"{where}: request_id must have 1 to {LONGEST_REQUEST_ID} characters, not {len(request_id)}")
    if len(by) > LONGEST_NAME:
        raise BadInput(f"{where}: {LABELLED_BY} must have at most {LONGEST_NAME} characters, not {len(by)}")
    return where, GivenLabel(request_id, int(item), text, by)


def _known(said: Iterable[Said], known: LabelSet) -> list[GivenLabel]:
    labels = []
    for where, one in said:
        label = known.find(one.label)
        if label is None:
            there = ", ".join(known.names) or "none"
            raise BadInput(f"{where}: {one.label[:50]!r} is no label; there are: {there}")
        labels.append(replace(one, label=label))
    return labels
