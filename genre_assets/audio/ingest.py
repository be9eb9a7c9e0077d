"""Uploading a folder of music into the raw bucket: sub-folders are genres. Idempotent: what is there is not sent again."""

import hashlib
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
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> Uploaded:
    """Upload `folder/<genre>/**` (audio by its suffix; the content is judged later) to `<genre>/**`.

    Raises `BadInput` if the folder is missing, has no genre's folder, or holds no audio.
    """
    files, left_out = find_audio(folder)
    store.ensure_buckets(settings.raw_bucket)
    there = {item.key: item for item in store.list(settings.raw_bucket)}
    uploaded = 0
    for done, path in enumerate(files, start=1):
        key = path.relative_to(folder).as_posix()
        present = there.get(key)
        size = path.stat().st_size
        same = present is not None and present.size == size and _has_etag(path, present.etag)
        if not same and not (present is not None and present.size == size and _same_bytes(store, settings, key, path)):
            store.upload_file(settings.raw_bucket, key, path)
            uploaded += 1
        progress(done, len(files))
    return Uploaded(uploaded, len(files) - uploaded, left_out)


def find_audio(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Audio files in the genres' folders, sorted; of the other files, by folder, how many and why they are left out.

    Raises `BadInput`; see above.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}")
    genres = [genre for genre in GENRES if (folder / genre).is_dir()]
    if not genres:
        raise BadInput(f"{folder} has no folder named like a genre; expected some of: {', '.join(GENRES)}")
    everything = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    why = {path: _why_left_out(path.relative_to(folder), genres) for path in everything}
    files = [path for path in everything if not why[path]]
    if not files:
        raise BadInput(f"no audio in the genres' folders of {folder}; it is known by: {', '.join(sorted(SUFFIXES))}")
    counts = Counter((_top(path.relative_to(folder)), why[path]) for path in everything if why[path])
    left_out: dict[str, str] = {}
    for (name, reason), n in sorted(counts.items()):
        said = f"{n} {'file' if n == 1 else 'files'} {reason}"
        left_out[name] = f"{left_out[name]}; {said}" if name in left_out else said
    return files, left_out


def _why_left_out(path: Path, genres: Sequence[str]) -> str:
    if len(path.parts) == 1:
        return "in no genre's folder"
    if path.parts[0] not in genres:
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
