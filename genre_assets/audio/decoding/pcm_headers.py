"""Where the samples lie in a file of plain samples (wav, aiff, au), and in which form: read from its headers alone.

Nothing of a header is believed that the file cannot bear out: lengths are cut to what is there, and the number of chunks
that are looked at is bounded, so that no file costs more than a few thousand small reads.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from genre_assets.audio.decoding.stream import CannotRead, OtherCodec

STREAMED = 0x7FFFF000  # sizes from here on (and 0) mean "unknown" in a file that was written as a stream
MOST_CHUNKS = 4096
MOST_CHANNELS = 1024
AU_ORDERS = {b".snd": ">", b"dns.": "<"}
WAV_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64")

_NAMES = frozenset(
    {b"fmt ", b"data", b"LIST", b"fact", b"bext", b"id3 ", b"PEAK", b"cue ", b"COMM", b"SSND", b"FVER", b"MARK"}
)
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# What FFmpeg can read of a wav, and the list of codecs allows: MP3, and AAC with and without its own frames.
_COMPRESSED = {0x55: "MP3", 0xFF: "AAC", 0x1600: "AAC", 0x1610: "AAC"}
_OTHER_TAGS = {
    0x02: "Microsoft ADPCM",
    0x06: "A-law",
    0x07: "mu-law",
    0x11: "IMA ADPCM",
    0x31: "GSM 6.10",
    0x50: "MPEG layer 1 or 2",
    0x160: "Windows Media Audio",
    0x161: "Windows Media Audio",
    0x162: "Windows Media Audio",
    0x163: "Windows Media Audio",
    0x2000: "AC-3",
}
_AIFC_FORMS = {  # compression type -> sample form, None for integers of the width that COMM states
    b"NONE": None, b"twos": None, b"sowt": None, b"in16": ">i2", b"in24": ">i3", b"in32": ">i4", b"raw ": "u1",
    b"42n1": "<i3", b"23ni": "<i4", b"fl32": ">f4", b"FL32": ">f4", b"fl64": ">f8", b"FL64": ">f8",
}  # fmt: skip
_AU_FORMS = {2: "i1", 3: "i2", 4: "i3", 5: "i4", 6: "f4", 7: "f8"}
_AU_OTHERS = {1: "mu-law", 23: "G.721 ADPCM", 24: "G.722", 25: "G.723 ADPCM", 26: "G.723 ADPCM", 27: "A-law"}


class CompressedWav(Exception):
    """A wav whose samples are in a codec that the list allows: for FFmpeg."""


@dataclass(frozen=True)
class Layout:
    """Interleaved samples: `length` bytes from `start` on. `form` is a NumPy type, or `<i3`/`>i3` for 24 bits."""

    start: int
    length: int
    form: str
    channels: int
    sample_rate: int
    format: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return int(self.form[-1]) * self.channels

    @property
    def frames(self) -> int:
        """How many samples each channel has."""
        return self.length // self.frame_bytes


def read_layout(file: BinaryIO, size: int) -> Layout:
    """The layout of a wav, aiff or au file.

    Raises `CannotRead` for a damaged header, `CompressedWav` for a wav that FFmpeg may read, `OtherCodec` for a codec
    that is not on the list.
    """
    file.seek(0)
    head = file.read(24)
    if head[:4] in WAV_MAGICS and head[8:12] == b"WAVE":
        return _wav(file, size, head)
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return _aiff(file, size)
    if head[:4] in AU_ORDERS:
        return _au(head, size, AU_ORDERS[head[:4]])
    raise CannotRead("no header of wav, aiff or au")


def chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of the content, stated length) of the chunks after a header of 12 bytes, at most `MOST_CHUNKS`."""
    position = 12
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", header)
        yield name, position + 8, length
        position += 8 + length
        if length % 2 and not _is_name_at(file, position):  # a few writers leave the padding out
            position += 1


def _is_name_at(file: BinaryIO, position: int) -> bool:
    file.seek(position)
    return file.read(4) in _NAMES


def _wav(file: BinaryIO, size: int, head: bytes) -> Layout:
    order = ">" if head[:4] == b"RIFX" else "<"
    form: tuple[str, int, int] | None = None
    long_size: int | None = None
    for name, start, length in chunks(file, order):
        if name == b"ds64":
            long_size = _long_data_size(file, start)
        elif name == b"fmt " and form is None:
            file.seek(start)
            form = _wav_form(file.read(min(length, 40)), order)
        elif name == b"data":
            if form is None:
                break
            stated = long_size if length == 0xFFFFFFFF and long_size is not None else length
            whole = int.from_bytes(head[4:8], "big" if order == ">" else "little") + 8
            if stated == 0 and whole == size > start:
                return Layout(start, 0, *form, "wav")  # a consistent file without samples, and something behind
            unknown = stated == 0 or (STREAMED <= stated < 2**32)
            there = max(0, size - start)
            return Layout(start, there if unknown else min(stated, there), *form, "wav")
    raise CannotRead("a wav without a format" if form is None else "a wav without samples")


def _long_data_size(file: BinaryIO, start: int) -> int | None:
    file.seek(start + 8)
    field = file.read(8)
    return int.from_bytes(field, "little") if len(field) == 8 else None


def _wav_form(fmt: bytes, order: str) -> tuple[str, int, int]:
    if len(fmt) < 16:
        raise CannotRead("a wav whose format is cut off")
    tag, channels, rate, _, block, bits = struct.unpack(f"{order}HHIIHH", fmt[:16])
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack(f"{order}H", fmt[24:26])
    if tag in _COMPRESSED:
        raise CompressedWav(_COMPRESSED[tag])
    if tag not in {_PCM, _FLOAT}:
        raise OtherCodec(_OTHER_TAGS.get(tag, f"wav format {tag:#06x}"))
    _check_channels(channels)
    width = block // channels if block and block % channels == 0 else math.ceil(bits / 8)
    if tag == _FLOAT:
        forms = {4: f"{order}f4", 8: f"{order}f8"}
    else:
        forms = {1: "u1", 2: f"{order}i2", 3: f"{order}i3", 4: f"{order}i4"}
    if width not in forms or not 0 < bits <= 8 * width:
        raise CannotRead(f"a wav with samples of {bits} bits in {width} bytes")
    return forms[width], channels, _checked_rate(rate)


def _aiff(file: BinaryIO, size: int) -> Layout:
    form: tuple[str, int, int] | None = None
    samples: tuple[int, int] | None = None
    stated = 0
    for name, start, length in chunks(file, ">"):
        if name == b"COMM" and form is None:
            file.seek(start)
            comm = file.read(min(length, 22))
            form, stated = _aiff_form(comm), int.from_bytes(comm[2:6], "big")
        elif name == b"SSND" and samples is None:
            file.seek(start)
            offset = int.from_bytes(file.read(4), "big")
            first = start + 8 + offset
            there = max(0, size - first)
            unknown = length == 0 or length >= STREAMED
            samples = (first, there if unknown else max(0, min(length - 8 - offset, there)))
        if form is not None and samples is not None:
            layout = Layout(samples[0], samples[1], *form, "aiff")
            # Writers count the padding into the chunk: the number of frames is the exact one, where it is given.
            exact = min(layout.length, (stated or layout.frames) * layout.frame_bytes)
            return replace(layout, length=exact)
    raise CannotRead("an aiff without a format" if form is None else "an aiff without samples")


def _aiff_form(comm: bytes) -> tuple[str, int, int]:
    if len(comm) < 18:
        raise CannotRead("an aiff whose format is cut off")
    channels, _, bits, exponent, mantissa = struct.unpack(">HIHHQ", comm[:18])
    kind = comm[18:22] or b"NONE"
    _check_channels(channels)
    if kind not in _AIFC_FORMS:
        raise OtherCodec(f"aiff compression {kind.decode('ascii', 'replace').strip()!r}")
    form = _AIFC_FORMS[kind]
    if form is None:
        width = math.ceil(bits / 8)
        if not 1 <= width <= 4:
            raise CannotRead(f"an aiff with samples of {bits} bits")
        form = "i1" if width == 1 else f"{'<' if kind == b'sowt' else '>'}i{width}"
    # An 80-bit float: a rate is a small positive number, so anything else is damage.
    if exponent & 0x8000 or not 16383 <= exponent < 16383 + 32:
        raise CannotRead("an aiff whose sample rate is no rate")
    return form, channels, _checked_rate(mantissa >> (63 - (exponent - 16383)))


def _au(head: bytes, size: int, order: str) -> Layout:
    if len(head) < 24:
        raise CannotRead("an au whose header is cut off")
    start, length, encoding, rate, channels = struct.unpack(f"{order}IIIII", head[4:24])
    if encoding in _AU_OTHERS:
        raise OtherCodec(_AU_OTHERS[encoding])
    if encoding not in _AU_FORMS or start < 24:
        raise CannotRead(f"an au with encoding {encoding}")
    _check_channels(channels)
    there = max(0, size - start)
    unknown = length == 0 or length >= STREAMED
    form = f"{order}{_AU_FORMS[encoding]}"
    return Layout(start, there if unknown else min(length, there), form, channels, _checked_rate(rate), "au")


def _check_channels(channels: int) -> None:
    if not 1 <= channels <= MOST_CHANNELS:
        raise CannotRead(f"{channels} channels")


def _checked_rate(rate: int) -> int:
    if rate <= 0:
        raise CannotRead("a sample rate of 0")
    return rate
