"""What of a source is audio, of which label, and under which key: by its folders, or by what it says itself.

It may say it in `metadata.csv`, as Hugging Face's audio folders do (columns file_name, label and, if known, group and split),
and name groups of files (an artist, an album) in `groups.csv` (columns key, group).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from genre_assets import keys, text
from genre_assets.audio import groups, splits
from genre_assets.audio.sources import Source
from genre_assets.errors import BadInput
from genre_assets.labels import RULE, LabelSet, name_for

SUFFIXES = frozenset(
    {".wav", ".mp3", ".mp4", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".au"}
)
METADATA = "metadata.csv"
NAMED = 5  # files that a message names


@dataclass(frozen=True)
class Found:
    """Names of files by their keys, in order; groups and splits by key, where known; of the rest, by folder, how many and why left out.

    `labels` is the set that the files are of; `missing` are the labels that would have to be added for the files of
    folders, or with labels, that are in no set.
    """

    files: Mapping[str, PurePosixPath]
    groups: Mapping[str, str]
    splits: Mapping[str, str]
    left_out: Mapping[str, str]
    labels: LabelSet
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class _Said:
    """What `metadata.csv` says: labels, groups and splits by file name."""

    labels: Mapping[str, str]
    groups: Mapping[str, str]
    splits: Mapping[str, str]


def find_audio(
    source: Source,
    labels: LabelSet,
    *,
    closed: bool,
    limit: int | None = None,
    names: Sequence[PurePosixPath] | None = None,
) -> Found:
    """Audio of the labels in `source`, at most `limit` files of each.

    What `metadata.csv` says of a file counts before the folder that it lies in. Unless the set is `closed`, every folder
    with audio, and every label in `metadata.csv`, is a label. `names` are the source's, where they are known.

    Raises `BadInput` if the source is missing, holds no audio of a label, lists files that are not there, or two files would
    have one key.
    """
    everything = {str(name): name for name in (source.names() if names is None else names)}
    names = [name for path, name in everything.items() if path not in {METADATA, keys.GROUPS}]
    said = _metadata(source, listed=METADATA in everything)
    _check_all_there(source, said, names)
    texts = sorted({said_of for name in names if _is_audio(name) and (said_of := _text(name, said.labels)) is not None})
    unknown = list(dict.fromkeys(name for one in texts if labels.find(one) is None and (name := name_for(one))))
    if not closed:
        labels = _grown(labels, unknown)
    if not any(labels.find(one) for one in texts):
        raise BadInput(_nothing(source, labels, texts))
    why = {name: _why_left_out(name, said.labels, labels) for name in names}
    usable = _keys([name for name in names if not why[name]], said.labels, labels)
    taken = usable if limit is None else _first(usable, limit)
    why |= {name: f"over the limit of {limit}" for key, name in usable.items() if key not in taken}
    return Found(
        files=taken,
        groups=_groups(source, said, taken, listed=keys.GROUPS in everything),
        splits={key: said.splits[str(name)] for key, name in taken.items() if str(name) in said.splits},
        left_out=_counted({name: reason for name, reason in why.items() if reason}),
        labels=labels,
        missing=unknown if closed else (),
    )


def _is_audio(name: PurePosixPath) -> bool:
    return name.suffix.lower() in SUFFIXES


def _text(name: PurePosixPath, labels: Mapping[str, str]) -> str | None:
    """What the source says that the file's label is; None if it says nothing."""
    return labels.get(str(name)) or (name.parts[0] if len(name.parts) > 1 else None)


def _grown(labels: LabelSet, names: Iterable[str]) -> LabelSet:
    for name in names:
        if labels.find(name) is None:  # else one of before means the same
            labels = labels.with_labels([name])
    return labels


def _nothing(source: Source, labels: LabelSet, texts: Sequence[str]) -> str:
    if not texts:
        return (
            f"{source.title} has no audio in a folder that names its label, and no {METADATA}; audio is known by: "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    found = ", ".join(text.visible(one) for one in texts[:NAMED])
    if not labels.names:
        return f"{source.title}: no folder can name a label ({found}): {RULE}"
    return (
        f"{source.title} has no audio of a label: found {found}, the labels are {', '.join(labels.names)}; add one with: "
        "genre-assets labels add NAME"
    )


def _metadata(source: Source, *, listed: bool) -> _Said:
    labels: dict[str, str] = {}
    said: dict[str, str] = {}
    stated: dict[str, str] = {}
    for line, row in _rows(source, METADATA, ("file_name", "label"), optional=("group", "split")) if listed else ():
        name = str(PurePosixPath(row["file_name"]))
        if labels.setdefault(name, row["label"]) != row["label"]:
            raise BadInput(
                f"{source.title}/{METADATA}, line {line}: {text.visible(name)} is there twice, with two labels"
            )
        if row["group"]:
            said[name] = row["group"]
        if row["split"]:
            stated[name] = splits.checked(row["split"], f"{source.title}/{METADATA}, line {line}")
    return _Said(labels, said, stated)


def _rows(
    source: Source, name: str, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    return text.read_rows(source.read(PurePosixPath(name)), f"{source.title}/{name}", columns, optional=optional)


def _check_all_there(source: Source, said: _Said, names: Iterable[PurePosixPath]) -> None:
    away = sorted(set(said.labels) - {str(name) for name in names})
    if away:
        shown = ", ".join(text.visible(name) for name in away[:NAMED])
        more = " ..." if len(away) > NAMED else ""
        raise BadInput(f"{source.title}/{METADATA} lists {len(away)} files that are not there: {shown}{more}")


def _groups(source: Source, said: _Said, taken: Mapping[str, PurePosixPath], *, listed: bool) -> dict[str, str]:
    """By key. `groups.csv` may name files by their path in the source, or by the key that they have in the bucket."""
    key_of = {str(name): key for key, name in taken.items()}
    found = {key_of[name]: group for name, group in said.groups.items() if name in key_of}
    for _, row in _rows(source, keys.GROUPS, groups.COLUMNS) if listed else ():
        key = key_of.get(row["key"], row["key"])
        if row["group"] and key in taken:
            found[key] = row["group"]
    return found


def _why_left_out(name: PurePosixPath, said: Mapping[str, str], labels: LabelSet) -> str:
    label = said.get(str(name))
    if label is not None:
        if labels.find(label) is None:
            return f"with the label {text.visible(label)}, which is none of the label set"
    elif len(name.parts) == 1:
        return "in no label's folder"
    elif labels.find(name.parts[0]) is None:
        return "in a folder that is no label's"
    return "" if _is_audio(name) else f"without the ending of an audio file ({name.suffix or 'none'})"


def _keys(names: Iterable[PurePosixPath], said: Mapping[str, str], labels: LabelSet) -> dict[str, PurePosixPath]:
    """Each name by its key: its label as the platform writes it, and the path below the label's folder."""
    found: dict[str, PurePosixPath] = {}
    for name in names:
        label = labels.find(said.get(str(name), name.parts[0]))
        inside = len(name.parts) > 1 and labels.find(name.parts[0]) == label
        key = f"{label}/{PurePosixPath(*name.parts[inside:])}"
        if key in found:
            raise BadInput(f"{found[key]} and {name} would both be {key} in the bucket: rename one of them")
        found[key] = name
    return dict(sorted(found.items()))


def _first(usable: Mapping[str, PurePosixPath], limit: int) -> dict[str, PurePosixPath]:
    """No more than `limit` of each label, chosen by a hash of the key: folders inside a label's are mixed."""
    of_label: dict[str, list[str]] = {}
    for key in usable:
        of_label.setdefault(key.split("/")[0], []).append(key)
    chosen = {
        key
        for mine in of_label.values()
        for key in sorted(mine, key=lambda key: hashlib.sha256(key.encode()).digest())[:limit]
    }
    return {key: name for key, name in usable.items() if key in chosen}


def _counted(why: Mapping[PurePosixPath, str]) -> dict[str, str]:
    counts = Counter((_top(name), reason) for name, reason in why.items())
    left_out: dict[str, str] = {}
    for (top, reason), n in sorted(counts.items()):
        said = f"{n} {'file' if n == 1 else 'files'} {reason}"
        left_out[top] = f"{left_out[top]}; {said}" if top in left_out else said
    return left_out


def _top(name: PurePosixPath) -> str:
    return f"{name.parts[0]}/" if len(name.parts) > 1 else name.name
