"""What of a source is audio, of which genre, and under which key: by its folders, or by what it says itself.

It may say it in `metadata.csv`, as Hugging Face's audio folders do (columns file_name, label and, if known, group),
and name groups of files (an artist, an album) in `groups.csv` (columns key, group).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from genre_assets import keys, text
from genre_assets.audio import groups
from genre_assets.audio.sources import Source
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES

SUFFIXES = frozenset(
    {".wav", ".mp3", ".mp4", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".au"}
)
METADATA = "metadata.csv"
NAMED = 5  # files that a message names


@dataclass(frozen=True)
class Found:
    """Names of files by their keys, in order; groups by key, where known; of the rest, by folder, how many and why left out."""

    files: Mapping[str, PurePosixPath]
    groups: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class _Said:
    """What `metadata.csv` says: labels and groups by file name."""

    labels: Mapping[str, str]
    groups: Mapping[str, str]


def find_audio(source: Source, limit: int | None = None) -> Found:
    """Audio of the genres in `source`, at most `limit` files of each.

    What `metadata.csv` says of a file counts before the folder that it lies in. Raises `BadInput` if the source is missing,
    names no genre, holds no audio, lists files that are not there, or two files would have one key.
    """
    everything = {str(name): name for name in source.names()}
    names = [name for path, name in everything.items() if path not in {METADATA, keys.GROUPS}]
    said = _metadata(source, listed=METADATA in everything)
    if not said.labels and not any(_genre(name.parts[0]) for name in names if len(name.parts) > 1):
        raise BadInput(
            f"{source.title} has no audio in a folder named like a genre, and no {METADATA}; "
            f"expected some of: {', '.join(GENRES)}"
        )
    _check_all_there(source, said, names)
    why = {name: _why_left_out(name, said.labels) for name in names}
    usable = _keys([name for name in names if not why[name]], said.labels)
    if not usable:
        raise BadInput(
            f"no audio in the genres' folders of {source.title}; it is known by: {', '.join(sorted(SUFFIXES))}"
        )
    taken = usable if limit is None else _first(usable, limit)
    why |= {name: f"over the limit of {limit}" for key, name in usable.items() if key not in taken}
    return Found(
        files=taken,
        groups=_groups(source, said, taken, listed=keys.GROUPS in everything),
        left_out=_counted({name: reason for name, reason in why.items() if reason}),
    )


def _metadata(source: Source, *, listed: bool) -> _Said:
    labels: dict[str, str] = {}
    said: dict[str, str] = {}
    for line, row in _rows(source, METADATA, ("file_name", "label"), optional=("group",)) if listed else ():
        name = str(PurePosixPath(row["file_name"]))
        if labels.setdefault(name, row["label"]) != row["label"]:
            raise BadInput(
                f"{source.title}/{METADATA}, line {line}: {text.visible(name)} is there twice, with two labels"
            )
        if row["group"]:
            said[name] = row["group"]
    return _Said(labels, said)


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


def _genre(name: str) -> str | None:
    """The genre that a name means: case, spaces, `-` and `_` do not matter."""
    return _BY_PLAIN_NAME.get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


_BY_PLAIN_NAME = {_plain(genre): genre for genre in GENRES}


def _why_left_out(name: PurePosixPath, labels: Mapping[str, str]) -> str:
    label = labels.get(str(name))
    if label is not None:
        if _genre(label) is None:
            return f"with the label {text.visible(label)}, which is no genre"
    elif len(name.parts) == 1:
        return "in no genre's folder"
    elif _genre(name.parts[0]) is None:
        return "in a folder that is not named like a genre"
    return "" if name.suffix.lower() in SUFFIXES else f"without the ending of an audio file ({name.suffix or 'none'})"


def _keys(names: Iterable[PurePosixPath], labels: Mapping[str, str]) -> dict[str, PurePosixPath]:
    """Each name by its key: its genre as the platform writes it, and the path below the genre's folder."""
    found: dict[str, PurePosixPath] = {}
    for name in names:
        genre = _genre(labels.get(str(name), name.parts[0]))
        inside = len(name.parts) > 1 and _genre(name.parts[0]) == genre
        key = f"{genre}/{PurePosixPath(*name.parts[inside:])}"
        if key in found:
            raise BadInput(f"{found[key]} and {name} would both be {key} in the bucket: rename one of them")
        found[key] = name
    return dict(sorted(found.items()))


def _first(usable: Mapping[str, PurePosixPath], limit: int) -> dict[str, PurePosixPath]:
    """No more than `limit` of each genre, chosen by a hash of the key: folders inside a genre are mixed."""
    chosen: set[str] = set()
    for genre in GENRES:
        mine = [key for key in usable if key.startswith(f"{genre}/")]
        chosen.update(sorted(mine, key=lambda key: hashlib.sha256(key.encode()).digest())[:limit])
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
