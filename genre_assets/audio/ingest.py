"""Uploading a folder of music into the raw bucket: sub-folders are genres. Idempotent: what is there is not sent again."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

SUFFIXES = frozenset(
    {".wav", ".mp3", ".mp4", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".au"}
)


@dataclass(frozen=True)
class Uploaded:
    """Counts of files; of those left out, by their folder, how many and why."""

    uploaded: int
    unchanged: int
    left_out: Mapping[str, str]


def upload_folder(
    folder: Path,
    *,
    store: ObjectStore,
    settings: Settings,
    limit: int | None = None,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Uploaded:
    """Upload `folder/<genre>/**` (audio by its suffix; the content is judged later) to `<genre>/**`.

    A folder may write its genre in other ways (`Hip-Hop`, `hip_hop`): its files go to `hiphop/`. With `limit`, no more than
    so many of each genre; the same ones each time, and those of a smaller limit are among those of a larger one.

    Raises `BadInput` if the folder is missing, has no genre's folder, holds no audio, or two files would have one key.
    """
    files, left_out = find_audio(folder, limit)
    store.ensure_buckets(settings.raw_bucket)
    there = {item.key: item for item in store.list(settings.raw_bucket)}
    uploaded = 0
    for done, (key, path) in enumerate(files.items(), start=1):
        present = there.get(key)
        size = path.stat().st_size
        same = present is not None and present.size == size and _has_etag(path, present.etag)
        if not same and not (present is not None and present.size == size and _same_bytes(store, settings, key, path)):
            store.upload_file(settings.raw_bucket, key, path)
            uploaded += 1
        progress(done, len(files))
    return Uploaded(uploaded, len(files) - uploaded, left_out)


def find_audio(folder: Path, limit: int | None = None) -> tuple[dict[str, Path], dict[str, str]]:
    """Audio files in the genres' folders by their keys, in order; of the others, by folder, how many and why left out.

    Raises `BadInput`; see above.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    if not any(_genre(inside.name) for inside in folder.iterdir() if inside.is_dir()):
        raise BadInput(f"{folder} has no folder named like a genre; expected some of: {', '.join(GENRES)}")
    everything = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    why = {path: _why_left_out(path.relative_to(folder)) for path in everything}
    keys = _keys(folder, [path for path in everything if not why[path]])
    if not keys:
        raise BadInput(f"no audio in the genres' folders of {folder}; it is known by: {', '.join(sorted(SUFFIXES))}")
    taken = keys if limit is None else _first(keys, limit)
    why |= {path: f"over the limit of {limit}" for key, path in keys.items() if key not in taken}
    counts = Counter((_top(path.relative_to(folder)), why[path]) for path in everything if why[path])
    left_out: dict[str, str] = {}
    for (name, reason), n in sorted(counts.items()):
        said = f"{n} {'file' if n == 1 else 'files'} {reason}"
        left_out[name] = f"{left_out[name]}; {said}" if name in left_out else said
    return taken, left_out


def _genre(name: str) -> str | None:
    """The genre that a folder's name means: case, spaces, `-` and `_` do not matter."""
    return {_plain(genre): genre for genre in GENRES}.get(_plain(name))


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def _keys(folder: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Each file by its key: its genre as the platform writes it, and the rest of its path."""
    found: dict[str, Path] = {}
    for path in files:
        top, *rest = path.relative_to(folder).parts
        key = "/".join((_genre(top) or top, *rest))
        if key in found:
            raise BadInput(f"{found[key]} and {path} would both be {key} in the bucket: rename one of them")
        found[key] = path
    return dict(sorted(found.items()))


def _first(keys: Mapping[str, Path], limit: int) -> dict[str, Path]:
    """No more than `limit` of each genre, chosen by a hash of the key: folders inside a genre are mixed."""
    chosen: set[str] = set()
    for genre in GENRES:
        mine = [key for key in keys if key.startswith(f"{genre}/")]
        chosen.update(sorted(mine, key=lambda key: hashlib.sha256(key.encode()).digest())[:limit])
    return {key: path for key, path in keys.items() if key in chosen}


def _why_left_out(path: Path) -> str:
    if len(path.parts) == 1:
        return "in no genre's folder"
    if _genre(path.parts[0]) is None:
        return "in a folder that is not named like a genre"
    return "" if path.suffix.lower() in SUFFIXES else f"without the ending of an audio file ({path.suffix or 'none'})"


def _top(path: Path) -> str:
    return f"{path.parts[0]}/" if len(path.parts) > 1 else path.name


def _has_etag(path: Path, etag: str) -> bool:
    """Whether the ETag is the MD5 of the file, as it is for objects sent in one part to most S3 servers."""
    if len(etag) != 32:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == etag


def _same_bytes(store: ObjectStore, settings: Settings, key: str, path: Path) -> bool:
    return store.get_bytes(settings.raw_bucket, key) == path.read_bytes()
