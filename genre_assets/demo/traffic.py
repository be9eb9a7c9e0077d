"""Traffic for the ensemble: distinct segments cut from clips at random places, clean or made to drift."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio import perturbations
from genre_assets.audio.decoding.decode import Clip, decode
from genre_assets.audio.find_audio import SUFFIXES, find_audio
from genre_assets.audio.sources import Folder
from genre_assets.errors import BadInput
from genre_assets.labels import of_names


@dataclass(frozen=True)
class Request:
    """One item to send: the bytes of a wav file, and where it was cut from."""

    source: str
    genre: str
    audio: bytes


def usable_folder(folder: Path) -> Path:
    """The folder; `~` is what shells mean by it, of which some leave it as it is in `AUDIO=~/music`.

    Raises `BadInput` if it is not there, or holds no audio in sub-folders.
    """
    folder = folder.expanduser()
    find_audio(Folder(folder), of_names([]), closed=False)
    return folder


class Traffic:
    """An endless stream of distinct segments of the clips under `folder` (`genre/file`).

    Each segment starts at a place of its own, drawn by `seed`, so that none is sent twice and no window of the
    drift check counts a repetition as evidence.
    """

    def __init__(self, folder: Path, *, seconds: float, seed: int) -> None:
        files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES)
        self.clips = [(path, path.parent.name) for path in files]
        if not self.clips:
            raise BadInput(f"no audio in {folder}: sub-folders named like the labels must hold it")
        self.seconds = seconds
        self.random = np.random.default_rng(seed)
        self.decoded: dict[Path, Clip] = {}

    def clean(self) -> Iterator[Request]:
        """Segments as they are."""
        while True:
            yield self._segment(drifted=False)

    def drifted(self) -> Iterator[Request]:
        """Segments as a broken intake would deliver them: telephone band, 12 dB quieter, with noise at 20 dB."""
        while True:
            yield self._segment(drifted=True)

    def _segment(self, *, drifted: bool) -> Request:
        path, genre = self.clips[int(self.random.integers(len(self.clips)))]
        clip = self._clip(path)
        length = min(len(clip.samples), int(self.seconds * clip.sample_rate))
        start = int(self.random.integers(len(clip.samples) - length + 1))
        samples = clip.samples[start : start + length]
        if drifted:
            samples = telephone(samples, clip.sample_rate, self.random)
        return Request(f"{path.name}+{start / clip.sample_rate:.2f}s", genre, wav_bytes(samples, clip.sample_rate))

    def _clip(self, path: Path) -> Clip:
        if path not in self.decoded:
            self.decoded[path] = decode(path)
        return self.decoded[path]


def telephone(
    samples: NDArray[np.float32], sample_rate: int, random: np.random.Generator, *, gain_db: float = -12.0
) -> NDArray[np.float32]:
    """Band-limit mono samples to 300-1,500 Hz, lower them by `gain_db`, add white noise 20 dB below them."""
    narrow = perturbations.brick_wall(samples, sample_rate, 300, 1500)
    return perturbations.white_noise(perturbations.gain(narrow, 10 ** (gain_db / 20)), 20, random)


def wav_bytes(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """Mono samples as a 16-bit wav file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
