"""Text that strangers wrote: CSV files read with every fault named by file and line, names and times shown as people read them."""

import csv
import io
from collections.abc import Iterator, Sequence

from genre_assets.errors import BadInput

MOST_BYTES = 5_000_000  # of a CSV file of labels or groups: some hundred thousand rows
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def visible(text: object) -> str:
    """The text with control characters (but line breaks and tabs) and lone surrogates written as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in str(text))


def in_markdown(text: object, most: int = 200) -> str:
    """Text for a cell of a Markdown table: no link, picture, markup or cell of its own comes of it."""
    shown = visible(str(text)[:most]).replace("\n", " ").replace("\t", " ")
    for character in "\\`*_[]()!|~":
        shown = shown.replace(character, f"\\{character}")
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", "&#58;//")


def read_rows(
    data: bytes, name: str, columns: Sequence[str], *, optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file with at least these columns; a row holds these alone, an empty text for a short one.

    And for an `optional` column that is not there.

    UTF-8, with or without a byte-order mark; commas, or semicolons as some spreadsheets write; any line ends.
    Raises `BadInput` that names the file, where it can the line, and what is wrong.
    """
    reader = csv.reader(io.StringIO(_decoded(data, name), newline=""), strict=True)
    try:
        head: list[str] = next(reader, [])
        if len(head) == 1 and ";" in head[0]:
            reader = csv.reader(io.StringIO(_decoded(data, name), newline=""), strict=True, delimiter=";")
            head = next(reader, [])
        head = [field.strip() for field in head]
        missing = [column for column in columns if column not in head]
        if missing:
            raise BadInput(f"{visible(name)}: the columns {', '.join(missing)} are missing in its first line")
        there = [column for column in (*columns, *optional) if column in head]
        places = {column: head.index(column) for column in there}
        for row in reader:
            if row:
                fields = {column: row[place] if place < len(row) else "" for column, place in places.items()}
                yield reader.line_num, dict.fromkeys(optional, "") | fields
    except csv.Error as error:
        raise BadInput(f"{visible(name)}, line {reader.line_num}: this is no CSV ({error})") from error


def _decoded(data: bytes, name: str) -> str:
    shown = visible(name)
    if not data.strip():
        raise BadInput(f"{shown}: the file is empty")
    if len(data) > MOST_BYTES:
        raise BadInput(f"{shown}: the file has {len(data) / 1e6:.1f} MB; {MOST_BYTES / 1e6:g} MB are the most")
    if data.startswith(_UTF16):
        raise BadInput(f"{shown}: the file is UTF-16; save it as CSV in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{shown}, line {line}: the text is not UTF-8; save it as CSV in UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise BadInput(f"{shown}, line {line}: there is a NUL character; this is no text file")
    return text


def clock(seconds: float) -> str:
    """A place in a recording as people read it: `4:12`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
