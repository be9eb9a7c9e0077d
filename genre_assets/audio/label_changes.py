"""Changing the label set of a live system: what lies in the raw bucket, and the set that is kept beside it, together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genre_assets import labels
from genre_assets.audio import groups, splits
from genre_assets.audio.tables import listing
from genre_assets.errors import BadInput
from genre_assets.labels import Label, LabelSet
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore


@dataclass(frozen=True)
class Overview:
    """The set, whether it is kept (else it follows the folders), the objects of each label and of other folders."""

    labels: LabelSet
    kept: bool
    objects: Mapping[str, int]
    unknown: Mapping[str, int]


def overview(store: ObjectStore, settings: Settings) -> Overview:
    """What is in the raw bucket, by label. Reads a listing of it, no object."""
    known = labels.read(store, settings)
    found = listing.by_genre(store.list(settings.raw_bucket), known.names)
    folders = listing.by_folder(item.key for item in found.pop(labels.UNKNOWN))
    kept = labels.read_kept(store, settings) is not None
    return Overview(known, kept, {name: len(items) for name, items in found.items()}, folders)


def add(store: ObjectStore, settings: Settings, names: Sequence[str], aliases: Sequence[str] = ()) -> LabelSet:
    """Add labels, at the end; aliases are other names of one. The set is kept from now on. Raises `BadInput`."""
    before = labels.read(store, settings)
    if aliases and len(names) != 1:
        raise BadInput("aliases are other names of one label: add one at a time")
    if labels.read_kept(store, settings) is None:  # open: a folder of the name may have made it a label already
        names = [name for name in names if before.find(name) is None]
    after = before.with_labels(names)
    if aliases:
        after = after.with_aliases(after.names[-1], aliases)
    labels.keep(store, settings, after)
    return after


def remove(store: ObjectStore, settings: Settings, name: str) -> LabelSet:
    """Take a label out of the set. Its audio stays in the bucket, where it is quarantined as of no label."""
    before = labels.read(store, settings)
    after = before.without(name)
    if len(after.names) < 2:
        raise BadInput("a classifier needs two labels; add another one first")
    labels.keep(store, settings, after)
    return after


def rename(store: ObjectStore, settings: Settings, old: str, new: str) -> tuple[Label, int]:
    """Give a label another name: its audio is copied to the new folder, the set changed, then the old folder removed.

    A rename that was interrupted is completed by asking for it again. Returns the label and how many objects moved.
    """
    before = labels.read(store, settings)
    bucket = settings.raw_bucket
    done = labels.name_for(new)
    again = old not in before.names and done in before.names and before.find(old) == done
    after = before if again else before.renamed(old, new)
    label = next(one for one in after.labels if one.name == done)
    there = {item.key: item.size for item in store.list(bucket, f"{label.name}/")}
    moved = {item.key: f"{label.name}/{item.key.removeprefix(f'{old}/')}" for item in store.list(bucket, f"{old}/")}
    taken = sorted(new_key for new_key in moved.values() if new_key in there)
    if taken and not again:
        raise BadInput(
            f"{len(taken)} files are in {label.name}/ already, such as {taken[0]}: move or remove them first"
        )
    for source, target in moved.items():
        if target not in there:
            store.copy(bucket, source, bucket, target)
    groups.add_for_copies(store, settings, moved)
    split_of = splits.read(store, settings)
    splits.add(store, settings, {target: split_of[source] for source, target in moved.items() if source in split_of})
    labels.keep(store, settings, after)
    for source in moved:
        store.delete(bucket, source)
    return label, len(moved)
