"""The label set: the classes there are, in order. It is data: found in the raw bucket, or kept there as `labels.yaml`.

Before the first model the set is open: it follows the folders of the raw bucket, each a label. With the first training
set it is kept in `labels.yaml`, and from then on a label is added, renamed or removed by hand only, since each changes
what a model answers. A class's place in every vector of probabilities is its place among the labels that had recordings
when the model was trained; the model's manifest says it.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.errors import BadInput, DamagedObject
from genre_assets.text import visible

if TYPE_CHECKING:
    from genre_assets.settings import Settings
    from genre_assets.store import ObjectStore

LONGEST = 60
MOST_BYTES = 1_000_000
_FIELDS = {"name", "aliases", "description"}
PARTITIONS = "labels"
"""What Dagster calls the dynamic partitions that follow the label set."""
UNKNOWN = "unknown"
"""Stands for what lies in no label's folder."""
RESERVED = (UNKNOWN, keys.LABEL_FILES.rstrip("/"))
"""No label may be named so."""


@dataclass(frozen=True)
class Label:
    """One class: its name, which is its folder in the raw bucket, and other names that sources have for it."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class LabelSet:
    """Labels in order. Changing makes a new set; names, and other names, are of one label each."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        """Raises `BadInput` for a name that cannot be a folder's, or that two labels share."""
        owners: dict[str, str] = {}
        for label in self.labels:
            if label.name != name_for(label.name):
                raise BadInput(f"a label cannot be named {visible(label.name)!r}: {RULE}")
            for name in {_plain(label.name), *map(_plain, label.aliases)}:
                if name in owners:
                    raise BadInput(f"the labels {owners[name]} and {label.name} are both known as {visible(name)}")
                owners[name] = label.name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def version(self) -> str:
        """See `version_of`."""
        return version_of(self.names)

    def find(self, text: str) -> str | None:
        """The label that a text means, if one: case, spaces, `-` and `_` do not matter, and aliases count."""
        return self._by_plain_name.get(_plain(text))

    @cached_property
    def _by_plain_name(self) -> dict[str, str]:
        return {_plain(name): label.name for label in self.labels for name in (label.name, *label.aliases)}

    def with_labels(self, names: Iterable[str]) -> "LabelSet":
        """With more labels, at the end. Raises `BadInput` for a name that is there already, or cannot be one."""
        more = []
        for text in names:
            name = name_for(text)
            if name is None:
                raise BadInput(f"a label cannot be named {visible(text)!r}: {RULE}")
            if (known := self.find(name)) is not None:
                raise BadInput(f"the label {known} is there already" + ("" if known == name else f", also for {name}"))
            more.append(Label(name))
        return LabelSet((*self.labels, *more))

    def without(self, name: str) -> "LabelSet":
        """Without one label. Raises `BadInput` for one that is not there."""
        self._known(name)
        return LabelSet(tuple(label for label in self.labels if label.name != name))

    def renamed(self, old: str, new: str) -> "LabelSet":
        """With another name in the same place; the old one stays known as an alias. Raises `BadInput`."""
        label = self._known(old)
        named = LabelSet(tuple(one for one in self.labels if one is not label)).with_labels([new]).labels[-1]
        aliases = tuple(dict.fromkeys([*label.aliases, old]))
        changed = replace(label, name=named.name, aliases=tuple(a for a in aliases if _plain(a) != _plain(named.name)))
        return LabelSet(tuple(changed if one is label else one for one in self.labels))

    def with_aliases(self, name: str, aliases: Sequence[str]) -> "LabelSet":
        """With more names by which a label is known. Raises `BadInput` for a label that is not there."""
        label = self._known(name)
        changed = replace(label, aliases=tuple(dict.fromkeys([*label.aliases, *aliases])))
        return LabelSet(tuple(changed if one is label else one for one in self.labels))

    def _known(self, name: str) -> Label:
        for label in self.labels:
            if label.name == name:
                return label
        raise BadInput(f"there is no label {visible(name)!r}; there are: {', '.join(self.names) or 'none'}")

    def to_yaml(self) -> str:
        """As `labels.yaml` has it: a list; a label with nothing but a name is its name alone."""
        import yaml

        items: list[object] = []
        for label in self.labels:
            more = {"aliases": list(label.aliases), "description": label.description}
            told = {key: value for key, value in more.items() if value}
            items.append({"name": label.name, **told} if told else label.name)
        return yaml.safe_dump(items, sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, data: bytes | str, name: str) -> "LabelSet":
        """Parse. Raises `BadInput` with the file's `name` and what is wrong in it."""
        import yaml

        if len(data) > MOST_BYTES:
            raise BadInput(f"{name}: a label set has at most {MOST_BYTES / 1e6:g} MB")
        try:
            items = yaml.safe_load(data)
        except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
            raise BadInput(f"{name} is no YAML: {error}") from error
        if not isinstance(items, list):
            raise BadInput(f"{name}: expected a list of labels, each a name or name, aliases, description")
        try:
            return cls(tuple(_label(item, number) for number, item in enumerate(items, start=1)))
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from error


RULE = (
    f"letters, digits and _, small, at most {LONGEST}, no leading _, and not {' or '.join(RESERVED)}; it names a folder, a "
    "partition and a metric"
)


@cache
def version_of(names: tuple[str, ...]) -> str:
    """Names labels and their order: 12 hexadecimal digits."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def name_for(text: str) -> str | None:
    """The label that a folder's name makes: `Hip-Hop` is hip_hop; None for one that can name no label."""
    name = re.sub(r"[\s-]+", "_", text.strip().casefold())
    fits = re.fullmatch(r"[^\W_]\w*", name) is not None
    return name if fits and len(name) <= LONGEST and name not in RESERVED else None


def advice(folder: str) -> str:
    """What to do about a folder of the raw bucket that is no label's."""
    name = name_for(folder)
    if name is None:
        return "no label can be named so: move its files"
    return f"genre-assets labels add {name}" if name == folder else f"a label's files would lie in {name}/"


def of_names(names: Iterable[str]) -> LabelSet:
    """A set of labels with nothing but names, in this order."""
    return LabelSet(tuple(Label(name) for name in names))


def read(store: "ObjectStore", settings: "Settings") -> LabelSet:
    """Today's set: `labels.yaml` of the raw bucket; without one, the bucket's folders that may name a label.

    Empty for a bucket without such folders. Raises `BadInput` for a file that cannot be read.
    """
    kept = read_kept(store, settings)
    return kept if kept is not None else _found(store, settings)


def read_kept(store: "ObjectStore", settings: "Settings") -> LabelSet | None:
    """What `labels.yaml` says; without one, the labels of the training set; None while the set is open.

    An installation of before there was such a file has a training set without it: its folders are no labels by themselves.
    Raises `BadInput` for a file that cannot be read.
    """
    try:
        data = store.get_bytes(settings.raw_bucket, keys.LABEL_SET)
    except FileNotFoundError:
        return _of_training_set(store, settings)
    return LabelSet.from_yaml(data, f"s3://{settings.raw_bucket}/{keys.LABEL_SET}")


def _of_training_set(store: "ObjectStore", settings: "Settings") -> LabelSet | None:
    try:
        manifest = store.read_json(settings.features_bucket, keys.TRAINING_SET_MANIFEST)
        return of_names(manifest["genres"])
    except (FileNotFoundError, DamagedObject, KeyError, TypeError):
        return None


def names(store: "ObjectStore", settings: "Settings") -> tuple[str, ...]:
    """The names of today's set, in order."""
    return read(store, settings).names


def keep(store: "ObjectStore", settings: "Settings", labels: LabelSet) -> None:
    """Write `labels.yaml`: from now on this is the set."""
    content = labels.to_yaml().encode()
    store.put_bytes(settings.raw_bucket, keys.LABEL_SET, content, "application/yaml")


def keep_if_open(store: "ObjectStore", settings: "Settings", labels: LabelSet) -> None:
    """Write `labels.yaml`, unless there is one: what a person wrote is changed by hand only."""
    if not store.exists(settings.raw_bucket, keys.LABEL_SET):
        keep(store, settings, labels)


def difference(there: Sequence[str], wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which partitions go and which come, in this order, so that those are `wanted`, in its order."""
    same = 0
    while same < min(len(there), len(wanted)) and there[same] == wanted[same]:
        same += 1
    return list(there[same:]), list(wanted[same:])


def _found(store: "ObjectStore", settings: "Settings") -> LabelSet:
    """Each folder that is named as its label would be. Another (`Hip-Hop`) is no label's: files lie under the name itself."""
    chosen: dict[str, str] = {}  # of hip_hop and hiphop, which mean the same, the first
    for folder in store.folders(settings.raw_bucket):
        if folder == name_for(folder) and keys.is_audio(f"{folder}/"):
            chosen.setdefault(_plain(folder), folder)
    return of_names(chosen.values())


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _label(item: object, number: int) -> Label:
    if isinstance(item, (str, int)) and not isinstance(item, bool):
        return Label(str(item))
    if not isinstance(item, dict) or not isinstance(item.get("name"), (str, int)) or item.keys() - _FIELDS:
        raise BadInput(f"label {number}: expected a name, or name with aliases and description")
    aliases = item.get("aliases") or []
    if not isinstance(aliases, list):
        raise BadInput(f"label {number}: aliases must be a list")
    return Label(str(item["name"]), tuple(map(str, aliases)), str(item.get("description") or ""))
