"""Three labels of sounds that are no music, from an empty folder to the fallback and back; then a fourth, while it serves."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.dsp.filters import Floats
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services import graphql
from genre_assets.stack.supervision.run_files import written_state
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.audio.sounds import RATE, sound_file
from genre_assets_tests.live import COMMAND, PORT_OFFSET, environment, logs
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1800)]
CLIPS = 12
SECONDS = 20


def tones(random: np.random.Generator) -> Floats:
    """A melody of pure tones."""
    notes = [
        np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE) for hertz in random.uniform(200, 2000, 2 * SECONDS)
    ]
    return (np.concatenate(notes) / 2).astype(np.float32)


def bursts(random: np.random.Generator) -> Floats:
    """Noise that comes and goes."""
    time = np.arange(SECONDS * RATE) / RATE
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(0.3, 2) * time)
    return (0.3 * swell * random.standard_normal(len(time))).astype(np.float32)


def clicks(random: np.random.Generator) -> Floats:
    """Clicks at random moments over a faint hiss."""
    samples = 0.003 * random.standard_normal(SECONDS * RATE)
    for start in random.integers(0, len(samples) - 200, random.integers(40, 120)):
        samples[start : start + 200] += np.exp(-np.arange(200) / 20) * random.uniform(0.3, 0.9)
    return samples.clip(-1, 1).astype(np.float32)


def sirens(random: np.random.Generator) -> Floats:
    """A pitch that rises and falls."""
    time = np.arange(SECONDS * RATE) / RATE
    hertz = 700 + 400 * np.sin(2 * np.pi * random.uniform(0.2, 1) * time)
    return (0.5 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * np.sign(np.sin(time * 30))).astype(np.float32)


SOUNDS = {"tones": tones, "bursts": bursts, "clicks": clicks}


def write(folder: Path, label: str, sound: object, seed: int, clips: int = CLIPS) -> Path:
    for number in range(clips):
        file = folder / label / f"{number:02d}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(sound_file(sound(np.random.default_rng((seed, number)))))  # type: ignore[operator]
    return folder


def command(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    outside = {**environment(home), "GENRE_PORT_OFFSET": str(PORT_OFFSET + 400)}
    return subprocess.run([COMMAND, *words], env=outside, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The story of the demo, to the fallback and back, on three labels."""
    folder = tmp_path_factory.mktemp("three")
    for seed, (label, sound) in enumerate(SOUNDS.items()):
        write(folder / "audio", label, sound, seed)
    home = folder / "home"
    try:
        done = command(home, "demo", "--audio", str(folder / "audio"))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs(home)}"
        yield load_settings(home)
    finally:
        command(home, "down")


def test_three_labels_are_told_apart_by_a_live_ensemble(three: Settings) -> None:
    fresh = np.random.default_rng(99)
    with GenreClient(three.triton_grpc) as client:
        assert client.labels == ["bursts", "clicks", "tones"]
        answers = client.predict([sound_file(SOUNDS[label](fresh)) for label in client.labels])
    assert [answer.label for answer in answers] == ["bursts", "clicks", "tones"]
    assert set(answers[0].probabilities) == {"bursts", "clicks", "tones"}


def test_a_label_is_added_to_the_live_system_and_no_service_is_restarted(three: Settings, tmp_path: Path) -> None:
    before = {name: one["pid"] for name, one in written_state(three.home)["services"].items()}
    folder = write(tmp_path, "Sirens", sirens, 7)
    refused = command(three.home, "ingest", str(folder))
    assert "genre-assets labels add NAME" in refused.stderr.replace("\n", " "), refused.stderr
    assert command(three.home, "labels", "add", "sirens").returncode == 0
    assert command(three.home, "ingest", str(folder)).returncode == 0
    until(lambda: "sirens" in graphql.partitions(three.dagster_url, "features"), "its partition is there", 60)

    def labels() -> list[str]:
        with GenreClient(three.triton_grpc) as client:
            return client.labels

    until(lambda: labels() == ["bursts", "clicks", "tones", "sirens"], "a release with four labels serves", 900)
    with GenreClient(three.triton_grpc) as client:
        (answer,) = client.predict([sound_file(sirens(np.random.default_rng(98)))])
    assert answer.label == "sirens"
    assert len(answer.probabilities) == 4
    assert {name: one["pid"] for name, one in written_state(three.home)["services"].items()} == before
