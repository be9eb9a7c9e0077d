"""Features of files on disk, without any service: what `genre-assets extract` prints."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.extract import Item, Limits, extract_item, feature_set_named
from genre_assets.audio.find_audio import SUFFIXES
from genre_assets.audio.workers.pool import Lost, map_files
from genre_assets.errors import BadInput
from genre_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

FEW = 4  # files that are done before a second process has started
Task = tuple[Path, str, Limits]


def extract_paths(
    paths: Sequence[Path],
    *,
    feature_set: str,
    settings: Settings,
    progress: Callable[[int, int], object] | None = None,
) -> "pd.DataFrame":
    """A row for each segment of each file (of a folder: of every audio file under it), in the order of the paths.

    Columns: path, segment, start_s, seconds, error, then the features. A file that cannot be used is one row with its
    reason in `error` and no features. `progress` is told how many files are done, and of how many. Raises `BadInput`
    for a path that is not there, or if there is no audio at all.
    """
    import pandas as pd

    columns = feature_set_named(feature_set).columns
    limits = Limits.from_settings(settings)
    files = _files(paths)
    found: dict[Path, Item | str] = {}
    for (path, *_), made in _each([(path, feature_set, limits) for path in files], settings):
        found[path] = made
        if progress is not None:
            progress(len(found), len(files))
    rows: list[list[object]] = []
    for path in files:
        item = found[path]
        if isinstance(item, str):
            rows.append([str(path), 0, None, None, item, *[None] * len(columns)])
            continue
        rows += [
            [str(path), index, start, seconds, "", *values]
            for (index, start, seconds), values in zip(item.segments, item.features.tolist(), strict=True)
        ]
    frame = pd.DataFrame(rows, columns=["path", "segment", "start_s", "seconds", "error", *columns])
    return frame.astype({"segment": "int32", **dict.fromkeys(("start_s", "seconds", *columns), "float32")})


def _each(tasks: list[Task], settings: Settings) -> Iterator[tuple[Task, Item | str]]:
    """What each file gave, or why it gave nothing: here if they are few, else in processes on all cores."""
    if len(tasks) <= FEW:
        yield from ((task, _one(None, task)) for task in tasks)
        return
    for task, made in map_files(_one, tasks, settings=settings):
        yield task, f"{Reason.UNDECODABLE}: {made.why}" if isinstance(made, Lost) else made


def _one(_: object, task: Task) -> Item | str:
    path, feature_set, limits = task
    try:
        return extract_item(path, feature_set=feature_set, limits=limits)
    except AudioError as error:
        return str(error)


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += [p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix.lower() in SUFFIXES]
        elif path.is_file():
            files.append(path)
        else:
            raise BadInput(f"there is no file {path}")
    if not files:
        raise BadInput(f"no audio in {', '.join(map(str, paths))}; it is known by: {', '.join(sorted(SUFFIXES))}")
    return files
