"""What a file's structure tells without decoding it: what it is, that it is no sound, or that its end is missing.

Decoders read a file that was cut off as if it were complete, or refuse it without saying why; its headers tell. And no
decoder is shown a file whose first bytes are not those of a format that it is meant for.
"""

from typing import BinaryIO, Literal

from genre_assets.audio.decoding.pcm_headers import AU_ORDERS, MOST_CHUNKS, STREAMED, WAV_MAGICS, chunks

Kind = Literal["samples", "flac", "ogg", "mp3", "aac", "mp4", "webm", "unknown"]

_OGG_TAIL = 65_307  # the longest page
_OGG_LAST_PAGE = 0x04  # flag
MISSING_SHARE = 0.02  # writers round sizes; less than this is no loss
_MOST_TAGS = 16

_OTHER_CONTENT = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML document"),
    (b"MThd", "MIDI notes"),
    (b"#EXTM3U", "a playlist"),
    (b"[playlist]", "a playlist"),
)
_OTHER_SOUND = (
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (wma, asf)"),
    (b"caff", "Apple Core Audio (caf)"),
    (b"riff\x2e\x91\xcf\x11", "Sony Wave64 (w64)"),
    (b"Creative Voice File", "Creative Voice (voc)"),
    (b"#!AMR", "AMR"),
    (b"MAC ", "Monkey's Audio (ape)"),
    (b"wvpk", "WavPack"),
    (b"TTA1", "True Audio"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b".RMF", "RealMedia"),
    (b"FLV\x01", "Flash video"),
    (b"NIST_1A", "NIST Sphere"),
    (b"2BIT", "AVR"),
    (b"\x64\xa3", "IRCAM"),
    (b"fap ", "PAF"),
    (b" paf", "PAF"),
)


def name_of_other_content(head: bytes) -> str | None:
    """What the file is, if its first bytes show something that is no sound recording."""
    return next((name for magic, name in _OTHER_CONTENT if head.startswith(magic)), None)


def name_of_other_sound(head: bytes) -> str | None:
    """What the file is, if its first bytes show a format of sound that is not read."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI video"
    return next((name for magic, name in _OTHER_SOUND if head.startswith(magic)), None)


def kind_of(file: BinaryIO) -> tuple[Kind, int]:
    """What the file is by its first bytes, behind ID3 tags if it has any, and where that starts."""
    start = 0
    for _ in range(_MOST_TAGS):
        file.seek(start)
        head = file.read(12)
        if head[:3] != b"ID3" or len(head) < 10 or any(byte & 0x80 for byte in head[6:10]):
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + size + (10 if head[5] & 0x10 else 0)
    return _kind(head, tagged=start > 0), start


def _kind(head: bytes, *, tagged: bool) -> Kind:
    if head[:4] == b"fLaC":
        return "flac"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0xF6 == 0xF0 else "mp3"
    if tagged:
        return "unknown"
    if (head[:4] in WAV_MAGICS and head[8:] == b"WAVE") or (head[:4] == b"FORM" and head[8:] in {b"AIFF", b"AIFC"}):
        return "samples"
    if head[:4] in AU_ORDERS:
        return "samples"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm"
    return "mp4" if head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"} else "unknown"


def what_is_missing(file: BinaryIO, size: int) -> str | None:
    """What of the file is not there although its headers announce it, in words; None if nothing is known to be missing."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in WAV_MAGICS and head[8:] == b"WAVE":
        return _missing_chunk(file, size, b"data", ">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b"FORM" and head[8:] in {b"AIFF", b"AIFC"}:
        return _missing_chunk(file, size, b"SSND", ">")
    if head[:4] == b"OggS":
        return _missing_ogg_end(file, size)
    if head[4:8] == b"ftyp":
        return _missing_box(file, size)
    return None


def _missing_chunk(file: BinaryIO, size: int, wanted: bytes, order: str) -> str | None:
    """Wav and aiff: the chunk of samples is longer than what is left of the file."""
    long_size = 0
    for name, start, stated in chunks(file, order):
        if name == b"ds64":
            file.seek(start + 8)
            long_size = int.from_bytes(file.read(8), "little")
        if name == wanted:
            length = long_size if stated == 0xFFFFFFFF else stated
            unknown = length == 0 or STREAMED <= length <= 0xFFFFFFFF
            lost = 0.0 if unknown else 1.0 - (size - start) / length
            return f"{lost:.0%} of the samples" if lost > MISSING_SHARE else None
    return None


def _missing_ogg_end(file: BinaryIO, size: int) -> str | None:
    """ogg: the last page of a complete file is marked as such, and is whole."""
    start = max(0, size - _OGG_TAIL)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "the end of the last page"
    return None if page[5] & _OGG_LAST_PAGE else "the last page"


def _missing_box(file: BinaryIO, size: int) -> str | None:
    """mp4 and m4a: a box is longer than what is left of the file."""
    position = 0
    for _ in range(MOST_CHUNKS):
        if position + 8 > size:
            break
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length == 0:
            return None
        if length < 8:
            break
        if position + length > size:
            name = header[4:8].decode("latin-1")
            return f"{1 - (size - position) / length:.0%} of the box {name!r}"
        position += length
    return None
