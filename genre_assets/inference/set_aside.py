"""Lines of the prediction log that the database cannot hold: kept beside the spool for a person to look at.

A folder of its own with a bound of its own, so that they never fill the spool. A segment's lines are one file, written
whole: setting a segment aside twice (after a kill in between) gives the same file.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from genre_assets.disk.whole import write_whole
from genre_assets.inference.request_rows import Refused


class SetAside:
    """The folder; `max_bytes` bounds it, the oldest files go first."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def keep(self, segment: str, refused: Sequence[Refused]) -> int:
        """Keep a segment's refused lines; returns how many are new, and not of an attempt before. Raises `OSError`."""
        path = self.folder / f"{segment}.jsonl"
        known = path.exists()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, "".join(json.dumps({"why": r.why, "row": r.line}) + "\n" for r in refused))
        return 0 if known else len(refused)

    def bound(self) -> int:
        """Remove the oldest files above the bound; returns how many lines went with them."""
        files = sorted(self.folder.glob("*.jsonl")) if self.folder.is_dir() else []
        total = sum(path.stat().st_size for path in files)
        gone = 0
        for path in files:
            if total <= self.max_bytes:
                break
            total -= path.stat().st_size
            gone += path.read_bytes().count(b"\n")
            path.unlink()
        return gone
