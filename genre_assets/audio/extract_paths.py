"""Features of files on disk, without any service: what `genre-assets extract` prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.audio.extract import Limits, extract_item, feature_set_named
from genre_assets.audio.ingest import SUFFIXES
from genre_assets.audio.reasons import AudioError
from genre_assets.errors import BadInput
from genre_assets.settings import Settings

if TYPE_CHECKING:
    import pandas as pd


def extract_paths(paths: Sequence[Path], *, feature_set: str, settings: Settings) -> "pd.DataFrame":
    """A row for each segment of each file (of a folder: of every audio file under it), in the order of the paths.

    Columns: path, segment, start_s, seconds, error, then the features. A file that cannot be used is one row with its
    reason in `error` and no features. Raises `BadInput` for a path that is not there, or if there is no audio at all.
    """
    import pandas as pd

    columns = feature_set_named(feature_set).columns
    limits = Limits.from_settings(settings)
    rows: list[list[object]] = []
    for path in _files(paths):
        try:
            item = extract_item(path, feature_set=feature_set, limits=limits)
        except AudioError as error:
            rows.append([str(path), 0, None, None, str(error), *[None] * len(columns)])
            continue
        rows += [
            [str(path), index, start, seconds, "", *values]
            for (index, start, seconds), values in zip(item.segments, item.features.tolist(), strict=True)
        ]
    frame = pd.DataFrame(rows, columns=["path", "segment", "start_s", "seconds", "error", *columns])
    return frame.astype({"segment": "int32", **dict.fromkeys(("start_s", "seconds", *columns), "float32")})


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
