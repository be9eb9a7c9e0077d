"""Fetching GTZAN through mirdata, for whoever wants the public data set: known faults left out.

Needs internet and the extra `gtzan`. What comes of it is a folder of `genre/file.wav` that `genre-assets ingest` takes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from genre_assets.errors import BadInput, TransientFailure
from genre_assets.genres import GENRES
from genre_assets.labels import of_names

CORRUPT = frozenset({"jazz.00054"})  # not decodable in the common distribution


class Track(Protocol):
    """What is used of a mirdata track."""

    audio_path: str
    genre: str


class Dataset(Protocol):
    """What is used of a mirdata data set."""

    def download(self) -> None:
        """Fetch and unpack the audio."""

    def load_tracks(self) -> Mapping[str, Track]:
        """All tracks by their id."""


def fetch(folder: Path, *, keep: Path | None = None, dataset: Dataset | None = None) -> int:
    """Fetch GTZAN and lay its tracks out as `folder/<genre>/<id>.wav`; returns how many there are.

    `keep` is a list of track ids to restrict it to, one in a line (the published fault-filtered or artist-aware splits;
    endings such as `.wav` and folders before the name are allowed). Links are made where they can be, copies elsewhere.
    Raises `TransientFailure` if it cannot be downloaded, `BadInput` for a list that names nothing.
    """
    source = dataset or _mirdata(folder.parent / "gtzan_mirdata")
    wanted = _listed(keep) if keep else None
    try:
        source.download()
    except (OSError, ValueError) as error:
        raise TransientFailure(f"GTZAN cannot be downloaded ({error}); is there internet?") from error
    tracks = {name: track for name, track in source.load_tracks().items() if name not in CORRUPT}
    chosen = {name: track for name, track in tracks.items() if wanted is None or name in wanted}
    if not chosen:
        raise BadInput(f"none of the tracks listed in {keep} is a track of GTZAN (such as blues.00000)")
    known = of_names(GENRES)  # which the data set writes in its own way: hip-hop
    for name, track in chosen.items():
        genre = known.find(track.genre) or track.genre
        _place(Path(track.audio_path), folder / genre / f"{name}.wav")
    return sum(1 for _ in folder.glob("*/*.wav"))


def _mirdata(home: Path) -> Any:
    try:
        import mirdata
    except ImportError:
        raise BadInput(
            "GTZAN is fetched with mirdata, which is not installed: pip install genre-assets[gtzan]"
        ) from None
    return mirdata.initialize("gtzan_genre", data_home=str(home))


def _listed(path: Path) -> frozenset[str]:
    if not path.is_file():
        raise BadInput(f"there is no list {path}")
    return frozenset(
        Path(line.strip()).name.removesuffix(".wav") for line in path.read_text().splitlines() if line.strip()
    )


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        target.write_bytes(source.read_bytes())
