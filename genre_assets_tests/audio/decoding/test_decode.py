"""Every format is decoded by its content, and every unusable file is refused with its reason."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.decoding import wav
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.decoding.reasons import MEANING, AudioError, Reason
from genre_assets.audio.decoding.stream import Window
from genre_assets_tests.audio.sounds import RATE, av_file, music, sound_file

SECONDS = 4.0
SOUND = music(SECONDS)
LOSSLESS, LOSSY = 1e-4, 0.08


def stereo(channels: int) -> np.ndarray:
    return np.stack([SOUND] * channels, axis=1)


FORMATS: dict[str, tuple[Callable[[], bytes], float]] = {
    "wav, 16 bit": (lambda: sound_file(SOUND), LOSSLESS),
    "wav, 24 bit": (lambda: sound_file(SOUND, subtype="PCM_24"), LOSSLESS),
    "wav, 32 bit": (lambda: sound_file(SOUND, subtype="PCM_32"), LOSSLESS),
    "wav, 8 bit": (lambda: sound_file(SOUND, subtype="PCM_U8"), 0.02),
    "wav, float": (lambda: sound_file(SOUND, subtype="FLOAT"), LOSSLESS),
    "wav, double": (lambda: sound_file(SOUND, subtype="DOUBLE"), LOSSLESS),
    "wav, two channels": (lambda: sound_file(stereo(2)), LOSSLESS),
    "wav, eight channels": (lambda: sound_file(stereo(8)), LOSSLESS),
    "wav, 64 bit header": (lambda: sound_file(SOUND, container="RF64"), LOSSLESS),
    "flac": (lambda: sound_file(SOUND, container="FLAC"), LOSSLESS),
    "aiff": (lambda: sound_file(SOUND, container="AIFF"), LOSSLESS),
    "ogg, Vorbis": (lambda: sound_file(SOUND, container="OGG", subtype="VORBIS"), LOSSY),
    "mp3": (lambda: sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III"), LOSSY),
    "m4a, AAC": (lambda: av_file(SOUND), LOSSY),
    "mp4, AAC": (lambda: av_file(SOUND, container="mp4"), LOSSY),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_sound_that_went_in(name: str) -> None:
    make, tolerance = FORMATS[name]
    clip = decode(make())
    assert clip.sample_rate == RATE
    assert clip.samples.dtype == np.float32
    assert clip.duration_s == pytest.approx(SECONDS, abs=0.2)
    assert distance(clip.samples) < tolerance


def distance(samples: np.ndarray) -> float:
    """RMS of the difference to the original, at the delay where it is least: codecs shift the sound a little."""
    part = SOUND[20_000:60_000]
    best = np.inf
    for delay in range(-2500, 2501):
        other = samples[20_000 + delay : 60_000 + delay]
        if len(other) == len(part):
            best = min(best, float(np.mean(np.square(other[::16] - part[::16]))))
    return float(np.sqrt(best))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_each_sample_rate_is_kept(rate: int) -> None:
    clip = decode(sound_file(music(1.5, rate=rate), rate=rate))
    assert (clip.sample_rate, len(clip.samples)) == (rate, round(1.5 * rate))


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "really_m4a.wav"
    path.write_bytes(av_file(SOUND))
    assert decode(path).format == "mp4"


def test_channels_are_mixed_by_their_mean() -> None:
    clip = decode(sound_file(np.stack([SOUND, -SOUND, SOUND, SOUND], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(clip.samples, SOUND / 2, atol=1e-6)
    assert clip.channels == 4


@pytest.mark.parametrize("make", [sound_file, av_file], ids=["ours", "FFmpeg"])
@pytest.mark.parametrize(("offset", "start"), [("start", 0.0), ("middle", 1.5)])
def test_an_offset_chooses_the_part(make: Callable[..., bytes], offset: str, start: float) -> None:
    clip = decode(make(SOUND), max_seconds=1.0, offset=offset)  # type: ignore[arg-type]
    assert len(clip.samples) == RATE
    expected = SOUND[round(start * RATE) :][:RATE]
    shifts = [np.corrcoef(clip.samples[3000:-3000], np.roll(expected, s)[3000:-3000])[0, 1] for s in range(-1500, 2500)]
    assert max(shifts) > 0.95


def test_a_random_part_is_always_the_same_for_the_same_file() -> None:
    files = [sound_file(SOUND), sound_file(SOUND * np.float32(0.5))]
    parts = [decode(file, max_seconds=1.0, offset="random").samples for file in (*files, *files)]
    np.testing.assert_array_equal(parts[0], parts[2])
    assert abs(np.corrcoef(parts[0], parts[1])[0, 1]) < 0.9


def with_a_bad_sample(value: float) -> bytes:
    samples = SOUND.copy()
    samples[30_000] = value
    return sound_file(samples, subtype="FLOAT")


def with_rate(rate: int) -> bytes:
    return sound_file(SOUND, rate=rate)


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


REFUSED: dict[str, tuple[Callable[[], bytes], Reason]] = {
    "no bytes": (lambda: b"", Reason.EMPTY),
    "a header without samples": (lambda: sound_file(SOUND[:0]), Reason.EMPTY),
    "noise instead of a file": (lambda: np.random.default_rng(0).bytes(9_000), Reason.UNDECODABLE),
    "text": (lambda: b"This is not music.\n" * 50, Reason.UNDECODABLE),
    "a damaged header": (lambda: b"RIFF\0\0\0\0WAVE" + b"\xff" * 500, Reason.UNDECODABLE),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 200, Reason.UNSUPPORTED),
    "a document": (lambda: b"%PDF-1.7\n" + b"\0" * 200, Reason.UNSUPPORTED),
    "a sample rate of 1 kHz": (lambda: with_rate(1_000), Reason.UNSUPPORTED),
    "half a wav": (lambda: cut(sound_file(SOUND)), Reason.TRUNCATED),
    "half a flac": (lambda: cut(sound_file(SOUND, container="FLAC")), Reason.TRUNCATED),
    "half an mp3": (lambda: cut(sound_file(SOUND, container="MP3", subtype="MPEG_LAYER_III")), Reason.TRUNCATED),
    "half an aiff": (lambda: cut(sound_file(SOUND, container="AIFF")), Reason.TRUNCATED),
    "half an ogg": (lambda: cut(sound_file(SOUND, container="OGG", subtype="VORBIS")), Reason.TRUNCATED),
    "half an m4a": (lambda: cut(av_file(SOUND)), Reason.TRUNCATED),
    "silence": (lambda: sound_file(SOUND * 0), Reason.SILENT),
    "dither": (lambda: sound_file(SOUND * np.float32(1e-4)), Reason.SILENT),
    "a blink": (lambda: sound_file(SOUND[:10_000]), Reason.TOO_SHORT),
    "not a number": (lambda: with_a_bad_sample(np.nan), Reason.NOT_FINITE),
    "infinity": (lambda: with_a_bad_sample(np.inf), Reason.NOT_FINITE),
    "a sample beyond any level": (lambda: with_a_bad_sample(1e20), Reason.NOT_FINITE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_unusable_file_is_refused_with_its_reason(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(AudioError) as refusal:
        decode(make())
    assert refusal.value.reason is reason, refusal.value.detail
    assert refusal.value.detail


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(AudioError) as refusal:
        decode(path, max_file_mb=200)
    assert refusal.value.reason is Reason.TOO_LARGE


def test_a_wav_written_as_a_stream_is_not_taken_for_a_truncated_one() -> None:
    data = bytearray(sound_file(SOUND))
    for unknown in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
        at = data.index(b"data") + 4
        data[4:8] = data[at : at + 4] = unknown
        assert len(decode(bytes(data)).samples) == pytest.approx(len(SOUND), abs=64)


def test_every_reason_has_words_for_people() -> None:
    assert set(MEANING) == set(Reason)


def test_a_quiet_recording_is_not_silence() -> None:
    quiet = decode(sound_file(SOUND * np.float32(0.002), subtype="PCM_24"))
    assert np.abs(quiet.samples).max() < 0.0011


def test_a_missing_file_is_no_verdict_on_audio(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "nowhere.wav")


def test_only_the_wanted_seconds_of_a_long_file_are_read() -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            Counting.bytes_read += len(data)
            return data

    long = sound_file(np.tile(SOUND, 60))  # four minutes
    stream = wav.read(Counting(long), Window(3.0, "middle"), len(long))
    assert len(stream.samples) == 3 * RATE
    assert Counting.bytes_read < 0.1 * len(long)
