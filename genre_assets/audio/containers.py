"""What a file's structure tells without decoding it: that it is no sound recording, or that its end is missing.

Decoders read a file that was cut off as if it were complete, or refuse it without saying why; its headers tell.
"""

from typing import BinaryIO

_STREAMED = 0x7FFFF000  # sizes from here on (and 0) mean "unknown" in a file that was written as a stream
_OGG_TAIL = 65_307  # the longest page
_OGG_LAST_PAGE = 0x04  # flag
MISSING_SHARE = 0.02  # writers round sizes; less than this is no loss

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


def name_of_other_content(head: bytes) -> str | None:
    """What the file is, if its first bytes show something that is no sound recording."""
    return next((name for magic, name in _OTHER_CONTENT if head.startswith(magic)), None)


def what_is_missing(file: BinaryIO, size: int) -> str | None:
    """What of the file is not there although its headers announce it, in words; None if nothing is known to be missing."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in {b"RIFF", b"RF64"} and head[8:] == b"WAVE":
        return _missing_chunk(file, size, b"data", "little")
    if head[:4] == b"FORM" and head[8:] in {b"AIFF", b"AIFC"}:
        return _missing_chunk(file, size, b"SSND", "big")
    if head[:4] == b"OggS":
        return _missing_ogg_end(file, size)
    if head[4:8] == b"ftyp":
        return _missing_box(file, size)
    return None


def _missing_chunk(file: BinaryIO, size: int, wanted: bytes, order: str) -> str | None:
    """Wav and aiff: the chunk of samples is longer than what is left of the file."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little" if order == "little" else "big")
        if header[:4] == wanted:
            lost = 0.0 if length == 0 or length >= _STREAMED else 1.0 - (size - position - 8) / length
            return f"{lost:.0%} of the samples" if lost > MISSING_SHARE else None
        position += 8 + length + length % 2
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
    while position + 8 <= size:
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
