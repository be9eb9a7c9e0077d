"""Our own reader of plain samples: the values of libsndfile, and nothing that a header says is believed."""

import io
import struct
import time
from itertools import product

import numpy as np
import pytest

from genre_assets.audio.decoding import wav as decode_wav
from genre_assets.audio.decoding.decode import decode
from genre_assets.audio.decoding.reasons import AudioError, Reason
from genre_assets.audio.decoding.stream import Window
from genre_assets_tests.audio.sounds import RATE, music, sound_file

INTEGERS, FLOATS = ("PCM_16", "PCM_24", "PCM_32"), ("FLOAT", "DOUBLE")
MADE = [
    *product(("WAV", "WAVEX", "RF64"), ("PCM_U8", *INTEGERS, *FLOATS), ("FILE",)),
    *product(("WAV",), INTEGERS, ("BIG",)),  # RIFX
    *product(("AIFF",), ("PCM_S8", "PCM_U8", *INTEGERS, *FLOATS), ("FILE",)),
    *product(("AIFF",), INTEGERS, ("LITTLE",)),  # sowt and its wider kin
    *product(("AU",), ("PCM_S8", *INTEGERS, *FLOATS), ("BIG", "LITTLE")),
]


@pytest.mark.parametrize(("container", "subtype", "endian"), MADE)
def test_the_values_are_those_of_libsndfile_bit_for_bit(container: str, subtype: str, endian: str) -> None:
    import soundfile

    rng = np.random.default_rng(1)
    for channels in (1, 2, 3, 9):
        file = io.BytesIO()
        sound = rng.uniform(-1, 1, (70_002, channels))
        soundfile.write(file, sound, 8_000, format=container, subtype=subtype, endian=endian)
        data = file.getvalue()
        with soundfile.SoundFile(io.BytesIO(data)) as theirs:
            theirs.seek(round((70_002 / 8_000 - 5) / 2 * 8_000))
            whole = theirs.read(40_000, dtype="float32", always_2d=True)
        expected = whole[:, 0] if channels == 1 else whole.mean(axis=1, dtype=np.float32)
        found = decode_wav.read(io.BytesIO(data), Window(5.0, "middle"), len(data))
        np.testing.assert_array_equal(found.samples, expected)
        assert (found.sample_rate, found.channels, found.duration_s) == (8_000, channels, 70_002 / 8_000)


def wav(
    tag: int = 1, channels: int = 1, rate: int = RATE, block: int = 2, bits: int = 16, before: bytes = b"",
    stated: int | None = None, after: bytes = b"", seconds: float = 2.0,
) -> bytes:  # fmt: skip
    """A wav with any header; `before` and `after` are chunks around its samples."""
    samples = (music(2.0)[: round(seconds * RATE)] * 32767).astype("<i2").tobytes()
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * block % 2**32, block, bits)
    size = len(samples) if stated is None else stated
    body = b"WAVE" + before + fmt + struct.pack("<4sI", b"data", size) + samples + after
    return struct.pack("<4sI", b"RIFF", len(body)) + body


ODD = {
    "an odd chunk with its padding": wav(before=b"LIST\x05\0\0\0abcde\0"),
    "an odd chunk without padding": wav(before=b"LIST\x05\0\0\0abcde"),
    "a chunk behind the samples": wav(after=b"id3 \x04\0\0\0abcd"),
    "no block size": wav(block=0),
    "an unknown size": wav(stated=0xFFFFFFFF),
    "a false size of the whole": b"RIFF\x01\0\0\0" + wav()[8:],
    "a hundred chunks": wav(before=b"junk\x02\0\0\0xy" * 100),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_headers_are_read(name: str) -> None:
    clip = decode(ODD[name])
    expected = decode(wav()).samples
    assert len(clip.samples) == pytest.approx(len(expected), abs=8)
    np.testing.assert_array_equal(clip.samples[: len(expected)], expected[: len(clip.samples)])


HOSTILE = {
    "no channels": (wav(channels=0), Reason.UNDECODABLE),
    "65,535 channels": (wav(channels=65_535), Reason.UNDECODABLE),
    "a rate of 0": (wav(rate=0), Reason.UNDECODABLE),
    "a rate of 4 GHz": (wav(rate=0xFFFFFFF0), Reason.UNSUPPORTED),
    "samples of 13 bytes": (wav(block=13, bits=104), Reason.UNDECODABLE),
    "bits that do not fit": (wav(bits=24), Reason.UNDECODABLE),
    "floats of two bytes": (wav(tag=3), Reason.UNDECODABLE),
    "more samples than there are": (wav(stated=0x10000000), Reason.TRUNCATED),
    "no samples but something behind": (wav(seconds=0.0, after=b"LIST\x90\0\0\0" + b"abcdefgh" * 18), Reason.EMPTY),
    "an unknown format": (wav(tag=0x1234), Reason.UNSUPPORTED),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_lying_header_is_refused_with_its_reason(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(AudioError) as refusal:
        decode(data)
    assert refusal.value.reason is reason, refusal.value


def test_millions_of_empty_chunks_cost_no_time() -> None:
    data = b"RIFF\xff\xff\xff\x7fWAVE" + b"junk\0\0\0\0" * 2_000_000
    started = time.process_time()
    with pytest.raises(AudioError):
        decode(data)
    assert time.process_time() - started < 1.0


def test_a_long_rf64_that_was_cut_is_truncated() -> None:
    data = sound_file(music(4.0), container="RF64")
    with pytest.raises(AudioError, match="truncated"):
        decode(data[: len(data) // 2])
