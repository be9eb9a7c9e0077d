"""What of a folder is audio, of which genre, and under which key: by its sub-folders, or by what it says itself.

A folder may say it in `metadata.csv`, as Hugging Face's audio folders do (columns file_name, label and, if known, group),
and name groups of files (an artist, an album) in `groups.csv` (columns key, group).
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from genre_assets import text
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES

SUFFIXES = frozenset(
    {".wav", ".mp3", ".mp4", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".au"}
)
METADATA = "metadata.csv"
GROUPS = "groups.csv"
NAMED = 5  # files that a message names


@dataclass(frozen=True)
class Found:
    """Files by their keys, in order; groups by key, where known; of the rest, by folder, how many and why left out."""

    files: Mapping[str, Path]
    groups: Mapping[str, str]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class _Said:
    """What `metadata.csv` says: labels and groups by file name."""

    labels: Mapping[str, str]
    groups: Mapping[str, str]


def find_audio(folder: Path, limit: int | None = None) -> Found:
    """Audio of the genres in `folder`, at most `limit` files of each.

    What `metadata.csv` says of a file counts before the folder that it lies in. Raises `BadInput` if the folder is missing,
    names no genre, holds no audio, lists files that are not there, or two files would have one key.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    said = _metadata(folder)
    if not said.labels and not any(_genre(inside.name) for inside in folder.iterdir() if inside.is_dir()):
        raise BadInput(
            f"{folder} has no folder named like a genre, and no {METADATA}; expected some of: {', '.join(GENRES)}"
        )
    names = [
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path not in {folder / METADATA, folder / GROUPS}
    ]
    _check_all_there(folder, said, names)
    why = {name: _why_left_out(name, said.labels) for name in names}
    keys = _keys([name for name in names if not why[name]], said.labels)
    if not keys:
        raise BadInput(f"no audio in the genres' folders of {folder}; it is known by: {', '.join(sorted(SUFFIXES))}")
    taken = keys if limit is None else _first(keys, limit)
    why |= {name: f"over the limit of {limit}" for key, name in keys.items() if key not in taken}
    return Found(
        files={key: folder / name for key, name in taken.items()},
        groups=_groups(folder, said, taken),
        left_out=_counted({name: reason for name, reason in why.items() if reason}),
    )


def _metadata(folder: Path) -> _Said:
    path = folder / METADATA
    if not path.is_file():
        return _Said({}, {})
    labels: dict[str, str] = {}
    groups: dict[str, str] = {}
    for line, row in text.read_rows(path.read_bytes(), str(path), ("file_name", "label"), optional=("group",)):
        name = str(PurePosixPath(row["file_name"]))
        if labels.setdefault(name, row["label"]) != row["label"]:
            raise BadInput(f"{path}, line {line}: {text.visible(name)} is there twice, with two labels")
        if row["group"]:
            groups[name] = row["group"]
    return _Said(labels, groups)


def _check_all_there(folder: Path, said: _Said, names: Iterable[Path]) -> None:
    away = sorted(set(said.labels) - {name.as_posix() for name in names})
    if away:
        shown = ", ".join(text.visible(name) for name in away[:NAMED])
        more = " ..." if len(away) > NAMED else ""
        raise BadInput(f"{folder / METADATA} lists {len(away)} files that are not in {folder}: {shown}{more}")


def _groups(folder: Path, said: _Said, taken: Mapping[str, Path]) -> dict[str, str]:
    """By key. A `groups.csv` may name files by their path in the folder, or by the key that they have in the bucket."""
    key_of = {name.as_posix(): key for key, name in taken.items()}
    found = {key_of[name]: group for name, group in said.groups.items() if name in key_of}
    path = folder / GROUPS
    if path.is_file():
        for _, row in text.read_rows(path.read_bytes(), str(path), ("key", "group")):
            key = key_of.get(row["key"], row["key"])
            if row["group"] and key in taken:
                found[key] = row["group"]
    return found


def _genre(name: str) -> str | None:
    """The genre that a name means: case, spaces, `-` and `_` do not matter."""
    return {_plain(genre): genre for genre in GENRES}.get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _why_left_out(name: Path, labels: Mapping[str, str]) -> str:
    label = labels.get(name.as_posix())
    if label is not None:
        if _genre(label) is None:
            return f"with the label {text.visible(label)}, which is no genre"
    elif len(name.parts) == 1:
        return "in no genre's folder"
    elif _genre(name.parts[0]) is None:
        return "in a folder that is not named like a genre"
    return "" if name.suffix.lower() in SUFFIXES else f"without the ending of an audio file ({name.suffix or 'none'})"


def _keys(names: list[Path], labels: Mapping[str, str]) -> dict[str, Path]:
    """Each name by its key: its genre as the platform writes it, and the path below the genre's folder."""
    found: dict[str, Path] = {}
    for name in names:
        genre = _genre(labels.get(name.as_posix(), name.parts[0]))
        inside = len(name.parts) > 1 and _genre(name.parts[0]) == genre
        key = f"{genre}/{PurePosixPath(*name.parts[inside:])}"
        if key in found:
            raise BadInput(f"{found[key]} and {name} would both be {key} in the bucket: rename one of them")
        found[key] = name
    return dict(sorted(found.items()))


def _first(keys: Mapping[str, Path], limit: int) -> dict[str, Path]:
    """No more than `limit` of each genre, chosen by a hash of the key: folders inside a genre are mixed."""
    chosen: set[str] = set()
    for genre in GENRES:
        mine = [key for key in keys if key.startswith(f"{genre}/")]
        chosen.update(sorted(mine, key=lambda key: hashlib.sha256(key.encode()).digest())[:limit])
    return {key: name for key, name in keys.items() if key in chosen}


def _counted(why: Mapping[Path, str]) -> dict[str, str]:
    counts = Counter((_top(name), reason) for name, reason in why.items())
    left_out: dict[str, str] = {}
    for (top, reason), n in sorted(counts.items()):
        said = f"{n} {'file' if n == 1 else 'files'} {reason}"
        left_out[top] = f"{left_out[top]}; {said}" if top in left_out else said
    return left_out


def _top(name: Path) -> str:
    return f"{name.parts[0]}/" if len(name.parts) > 1 else name.name
