"""From a folder of anybody's classes to a live, watched classifier, by the one command of the README.

Three classes of synthetic sounds that are no music, 100 clips of 20 s each. The services are up before the clock starts
(`genre-assets up`); what counts is the time from `genre-assets demo --audio DIR` until the ensemble answers a new clip of
each class and the reference that its drift is measured against is stored. The story of the demo then goes on to the fallback
and back. GENRE_BENCH_CLIPS="12" sets another number of clips, for which nothing is promised.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._audio_common import at_least, at_most, row
from genre_assets import keys
from genre_assets.errors import GenreError
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.audio.sounds import sound_file
from genre_assets_tests.integration.test_any_labels import SOUNDS, write
from genre_assets_tests.live import COMMAND, PORT_OFFSET, logs

CLIPS = int(os.environ.get("GENRE_BENCH_CLIPS", "100"))
PROMISED_CLIPS, PROMISED_SECONDS = 100, 300.0
GIVE_UP_SECONDS = 1800.0


def run() -> list[dict[str, Any]]:
    """Seconds until it is live and watched, until the story ends, and how many new clips are answered rightly."""
    with stack_beside_sounds(CLIPS) as (home, folder):
        return _measure(load_settings(home), folder)


@contextmanager
def stack_beside_sounds(clips: int) -> Iterator[tuple[Path, Path]]:
    """A stack of its own that is up, and a folder of so many synthetic clips for each label; both are gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "audio", Path(name) / "home"
        for seed, (label, sound) in enumerate(SOUNDS.items()):
            write(folder, label, sound, seed, clips=clips)
        try:
            done(home, "up")
            yield home, folder
        finally:
            done(home, "down")


def _measure(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    started = time.monotonic()
    with _command(settings.home, "demo", "--audio", str(folder)) as demo:
        live = _until(lambda: _is_live(settings), demo, settings) - started
        right = _right(settings)
        told = demo.wait(GIVE_UP_SECONDS)
        ended = time.monotonic() - started
    if told:
        raise RuntimeError(f"the demo ended with {told}\n{logs(settings.home)}")
    name = f"a folder of {len(SOUNDS)} x {CLIPS} clips, to a live and watched classifier"
    promised = CLIPS >= PROMISED_CLIPS
    return [
        at_most(name, live, PROMISED_SECONDS, "s", __name__) if promised else row(name, live, "s", __name__),
        row(f"{name}, to the fallback and back", ended, "s", __name__),
        at_least(f"{name}, new clips answered rightly", right, 0.8, "share", __name__),
    ]


def done(home: Path, *words: str) -> None:
    with _command(home, *words) as command:
        if command.wait(GIVE_UP_SECONDS):
            raise RuntimeError(f"genre-assets {' '.join(words)} failed\n{logs(home)}")


def said(home: Path, *words: str) -> str:
    """What a command prints."""
    with _command(home, *words, output=subprocess.PIPE) as command:
        told = command.communicate(timeout=GIVE_UP_SECONDS)[0].decode()
        if command.returncode:
            raise RuntimeError(f"genre-assets {' '.join(words)} failed\n{told}\n{logs(home)}")
    return told


def _command(home: Path, *words: str, output: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "DAGSTER_"))}
    given = {"GENRE_HOME": str(home), "GENRE_PORT_OFFSET": str(PORT_OFFSET + 300)}
    return subprocess.Popen([COMMAND, *words], env={**outside, **given}, stdout=output)


def _until(is_so: Callable[[], bool], demo: "subprocess.Popen[bytes]", settings: Settings) -> float:
    """When it was so. Raises `RuntimeError` if the demo ends before, or after half an hour."""
    end = time.monotonic() + GIVE_UP_SECONDS
    while not is_so():
        if demo.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"it does not come to life\n{logs(settings.home)}")
        time.sleep(0.5)
    return time.monotonic()


def _is_live(settings: Settings) -> bool:
    """Whether audio is answered, by a model whose reference is stored."""
    try:
        with GenreClient(settings.triton_grpc) as client:
            (answer,) = client.predict([_clip("tones", 0)])
        store = ObjectStore(s3_client(settings))
        return not answer.error and next(store.list(settings.serving_bucket, keys.REFERENCES), None) is not None
    except (GenreError, OSError):
        return False


def _right(settings: Settings) -> float:
    """Share of new clips whose class is named, eight of each."""
    asked = [(label, number) for label in SOUNDS for number in range(1, 9)]
    with GenreClient(settings.triton_grpc) as client:
        answers = [client.predict([_clip(*one)])[0] for one in asked]
    return float(np.mean([answer.label == label for answer, (label, _) in zip(answers, asked, strict=True)]))


def _clip(label: str, number: int) -> bytes:
    return sound_file(SOUNDS[label](np.random.default_rng((99, number))))
