"""Items that are no honest audio: files of every format damaged by a seed, and addresses of every kind of malice."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genre_assets_tests.audio.sounds import av_file, music, sound_file
from genre_assets_tests.serving.toys import clip

LARGEST = 200_000  # bytes of an item, so that the items of one request stay within its limit
EDGES = (0, 1, 0x7F, 0x80, 0xFF)
SIZES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE)


@dataclass(frozen=True)
class Item:
    """What is sent as one item, and what it is, for the table."""

    kind: str
    data: bytes


def corpus() -> dict[str, bytes]:
    """A short honest file of each format, and of some that are refused by name."""
    sound = music(1.2, seed=5)
    return {
        "wav": clip(1, seconds=1.2),
        "wav float": sound_file(np.stack([sound, sound], axis=1), subtype="FLOAT"),
        "wav 24 bit": sound_file(sound, subtype="PCM_24"),
        "aiff": sound_file(sound, container="AIFF"),
        "flac": sound_file(sound, container="FLAC"),
        "vorbis": sound_file(sound, container="OGG", subtype="VORBIS"),
        "opus": sound_file(music(1.2, rate=48_000), rate=48_000, container="OGG", subtype="OPUS"),
        "mp3": sound_file(sound, container="MP3", subtype="MPEG_LAYER_III"),
        "m4a": av_file(sound),
        "matroska": av_file(sound, container="matroska"),
    }


def item(files: dict[str, bytes], chance: random.Random) -> Item:
    """One hostile item: mostly a mutated file, sometimes an address."""
    if chance.random() < 0.1:
        return Item("address", _address(chance))
    name = chance.choice(sorted(files))
    mutate = chance.choice(MUTATIONS)
    return Item(name, bytes(mutate(bytearray(files[name]), files, chance)[:LARGEST]))


Mutation = Callable[[bytearray, dict[str, bytes], random.Random], bytearray]


def _overwritten(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    for _place in range(chance.randint(1, 30)):
        data[chance.randrange(len(data))] = chance.choice((*EDGES, chance.randrange(256)))
    return data


def _header_overwritten(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    for _place in range(chance.randint(1, 12)):
        data[chance.randrange(min(len(data), 200))] = chance.choice((*EDGES, chance.randrange(256)))
    return data


def _lying_sizes(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    for _place in range(chance.randint(1, 4)):
        at = 4 * chance.randrange(min(len(data), 160) // 4)
        data[at : at + 4] = chance.choice(SIZES).to_bytes(4, chance.choice(("little", "big")))
    return data


def _cut_out(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 400)]
    return data


def _cut_off(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data))]


def _doubled(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    at = chance.randrange(len(data))
    return data[:at] + data[max(0, at - chance.randint(1, 4000)) :]


def _zeroed(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    at, length = chance.randrange(len(data)), chance.randint(1, 3000)
    data[at : at + length] = bytes(len(data[at : at + length]))
    return data


def _longer(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    return data + chance.randbytes(chance.randint(1, 5000))


def _spliced(data: bytearray, files: dict[str, bytes], chance: random.Random) -> bytearray:
    other = files[chance.choice(sorted(files))]
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def _bits_flipped(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    for _place in range(max(1, len(data) // chance.choice((100, 1000, 10_000)))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _noise(data: bytearray, _: dict[str, bytes], chance: random.Random) -> bytearray:
    return bytearray(data[: chance.choice((0, 4, 12, 44))] + chance.randbytes(chance.randint(0, 9000)))


MUTATIONS: tuple[Mutation, ...] = (
    _overwritten, _header_overwritten, _lying_sizes, _cut_out, _cut_off, _doubled, _zeroed, _longer, _spliced,
    _bits_flipped, _noise,
)  # fmt: skip
ADDRESSES = (
    b"s3://genre-raw/../../etc/passwd", b"s3://../x", b"s3://genre-raw/%2e%2e/%2e%2e/x", b"s3://genre-raw/a\0b", b"s3://",
    b"s3:///", b"s3://genre-raw/", b"s3://genre-raw//x", b"s3://genre-raw/\xed\xa0\x80", b"s3://genre-raw/\xff\xfe", b"s3://\0/x",
    b"s3://genre-raw/x?versionId=1", b"s3://genre-mlflow/x", b"s3://genre-raw@elsewhere/x", b"s3://genre-raw/\r\nHost: x",
    b"/etc/passwd", b"../../etc/passwd", b"file:///etc/passwd", b"http://127.0.0.1:1/x", b"~/x", b"", b"\0", b"\n" * 50,
    b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n",
)  # fmt: skip


def _address(chance: random.Random) -> bytes:
    address = chance.choice(ADDRESSES)
    if chance.random() < 0.2:
        return address + chance.choice((b"a", b"/", b"../", b"\xf0\x9f\x8e\xb5")) * chance.randint(1, 3000)
    return address
