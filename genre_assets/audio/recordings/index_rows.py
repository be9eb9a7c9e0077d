"""The tables of the index of recordings in PostgreSQL; no other module speaks SQL to them.

A recording here is one content hash, however many files have it; the first of them, by label and key, gives its signature
and its place in the order. Everything in these tables comes from the inventories in the object store.
"""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_assets.audio.recordings.fingerprint import Keys, Numbers, keys_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class that psycopg2 names in lower case

LOCK = 20261129  # any constant: one process at a time changes the index
PAGE = 1000
_TABLES = "recording_labels, recording_index, recording_files, recordings, recording_bands, recording_pairs"


@dataclass(frozen=True)
class File:
    """A file that can be used, were it not for its duplicates."""

    label: str
    key: str
    fingerprint: str
    recording: str  # named by its own sound
    signature: bytes

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands among all files."""
        return self.label, self.key


@dataclass(frozen=True)
class Recording:
    """A recording as it stands in the index, with its first file."""

    number: int
    first: File


class IndexRows:
    """Statements on the index, in the transaction of one cursor."""

    def __init__(self, cursor: "Cursor") -> None:
        self._cursor = cursor

    def lock(self) -> None:
        """Wait until no other process changes the index."""
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))

    def is_whole(self, version: str) -> bool | None:
        """Whether the pairs are those of the recordings; None for an index that is empty or of another version."""
        found = self._rows("SELECT version, paired FROM recording_index", ())
        return bool(found[0][1]) if found and found[0][0] == version else None

    def clear(self, version: str) -> None:
        """Begin anew."""
        self._cursor.execute(f"TRUNCATE {_TABLES}")
        self._cursor.execute("INSERT INTO recording_index (version, paired) VALUES (%s, true)", (version,))

    def set_whole(self, whole: bool) -> None:
        """Say whether the pairs are those of the recordings."""
        self._cursor.execute("UPDATE recording_index SET paired = %s", (whole,))

    def claims(self) -> dict[str, str]:
        """Label -> the name of the inventory that the index holds of it; empty if it is behind."""
        return dict(self._rows("SELECT label, claim FROM recording_labels", ()))

    def claim(self, claims: Mapping[str, str]) -> None:
        """Keep such names; a label without files and without a name is forgotten."""
        self._many(
            "INSERT INTO recording_labels (label, claim) VALUES %s "
            "ON CONFLICT (label) DO UPDATE SET claim = EXCLUDED.claim",
            list(claims.items()),
        )

    def forget(self, labels: Collection[str]) -> None:
        """Labels that are none any more, and have no file."""
        self._cursor.execute("DELETE FROM recording_labels WHERE label = ANY(%s)", (list(labels),))

    def files_of(self, label: str) -> dict[str, tuple[str, str]]:
        """Key -> (fingerprint, recording) of a label's files."""
        sql = "SELECT key, fingerprint, recording FROM recording_files WHERE label = %s"
        return {key: (fingerprint, name) for key, fingerprint, name in self._rows(sql, (label,))}

    def replace_files(self, label: str, gone: Collection[str], come: Sequence[File]) -> None:
        """Remove the files of a label with these keys, and add others."""
        from psycopg2 import Binary

        self._cursor.execute("DELETE FROM recording_files WHERE label = %s AND key = ANY(%s)", (label, list(gone)))
        rows = [(f.label, f.key, f.fingerprint, f.recording, Binary(f.signature)) for f in come]
        self._many("INSERT INTO recording_files (label, key, fingerprint, recording, signature) VALUES %s", rows)

    def firsts(self, fingerprints: Collection[str]) -> dict[str, File]:
        """Fingerprint -> the first file that has it, of those that any has."""
        sql = """
            SELECT DISTINCT ON (fingerprint) label, key, fingerprint, recording, signature FROM recording_files
            WHERE fingerprint = ANY(%s) ORDER BY fingerprint, label COLLATE "C", key COLLATE "C"
            """
        return {file.fingerprint: file for file in map(_file, self._rows(sql, (list(fingerprints),)))}

    def holders(self, fingerprints: Collection[str]) -> set[str]:
        """The labels that have a file of any of these."""
        sql = "SELECT DISTINCT label FROM recording_files WHERE fingerprint = ANY(%s)"
        return {label for (label,) in self._rows(sql, (list(fingerprints),))}

    def recordings(self, fingerprints: Collection[str]) -> dict[str, Recording]:
        """Fingerprint -> its recording as it stands. The file that it names must be there."""
        sql = """
            SELECT r.id, f.label, f.key, f.fingerprint, f.recording, f.signature FROM recordings r
            JOIN recording_files f ON (f.label, f.key) = (r.label, r.key) WHERE r.fingerprint = ANY(%s)
            """
        rows = self._rows(sql, (list(fingerprints),))
        return {fields[2]: Recording(number, _file(fields)) for number, *fields in rows}

    def numbered(self, numbers: Collection[int] | None = None) -> list[Recording]:
        """The recordings of these numbers, or all, in the order of their first files."""
        sql = """
            SELECT r.id, f.label, f.key, f.fingerprint, f.recording, f.signature FROM recordings r
            JOIN recording_files f ON (f.label, f.key) = (r.label, r.key)
            WHERE %(all)s OR r.id = ANY(%(some)s) ORDER BY r.label COLLATE "C", r.key COLLATE "C"
            """
        given = {"all": numbers is None, "some": list(numbers or ())}
        return [Recording(number, _file(fields)) for number, *fields in self._rows(sql, given)]

    def places(self, numbers: Collection[int]) -> dict[int, tuple[str, str]]:
        """Where recordings stand."""
        rows = self._rows("SELECT id, label, key FROM recordings WHERE id = ANY(%s)", (list(numbers),))
        return {number: (label, key) for number, label, key in rows}

    def add(self, firsts: Collection[File]) -> dict[str, int]:
        """New recordings, due; returns fingerprint -> number. Their bands are added apart."""
        sql = "INSERT INTO recordings (fingerprint, label, key) VALUES %s RETURNING fingerprint, id"
        return dict(self._many(sql, [(f.fingerprint, f.label, f.key) for f in firsts], returns=True))

    def move(self, places: Mapping[int, File]) -> None:
        """Recordings whose first file is another one."""
        self._many(
            "UPDATE recordings SET label = v.label, key = v.key FROM (VALUES %s) AS v (id, label, key) WHERE recordings.id = v.id",
            [(number, file.label, file.key) for number, file in places.items()],
        )

    def remove(self, numbers: Collection[int]) -> None:
        """Recordings that no file has any more. Their bands and pairs are removed apart."""
        self._cursor.execute("DELETE FROM recordings WHERE id = ANY(%s)", (list(numbers),))

    def add_bands(self, signatures: Mapping[int, bytes]) -> None:
        """The bands of recordings."""
        lines: list[str] = []
        for number, signature in signatures.items():
            bands, frames = keys_of(words_of(signature))
            lines += [f"{b}\t{number}\t{f}\n" for b, f in zip(_signed(bands), frames.tolist(), strict=True)]
        self._cursor.copy_expert("COPY recording_bands FROM STDIN", io.StringIO("".join(lines)))

    def remove_bands(self, signatures: Mapping[int, bytes]) -> None:
        """The same, away. The primary key begins with the band, so they are named."""
        for number, signature in signatures.items():
            bands = _signed(keys_of(words_of(signature))[0])
            sql = "DELETE FROM recording_bands WHERE band = ANY(%s) AND recording = %s"
            self._cursor.execute(sql, (sorted(set(bands)), number))

    def entries(self, keys: Keys) -> tuple[Keys, Numbers, Numbers]:
        """All that stands under these keys: key, recording, frame."""
        sql = "SELECT band, recording, frame FROM recording_bands WHERE band = ANY(%s)"
        rows = self._rows(sql, (sorted(set(_signed(keys))),))
        table: NDArray[np.int32] = np.array(rows, np.int32).reshape(-1, 3)
        return table[:, 0].copy().view(np.uint32), table[:, 1], table[:, 2]

    def pairs_of(self, numbers: Collection[int]) -> set[tuple[int, int]]:
        """The pairs that any of these is in."""
        some = list(numbers)
        sql = "SELECT a, b FROM recording_pairs WHERE a = ANY(%s) UNION SELECT a, b FROM recording_pairs WHERE b = ANY(%s)"
        return set(self._rows(sql, (some, some)))

    def add_pairs(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Pairs, a < b; those that are there stay."""
        self._many("INSERT INTO recording_pairs (a, b) VALUES %s ON CONFLICT DO NOTHING", sorted(pairs))

    def remove_pairs(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Pairs, away."""
        self._many(
            "DELETE FROM recording_pairs USING (VALUES %s) AS v (a, b) "
            "WHERE recording_pairs.a = v.a AND recording_pairs.b = v.b",
            sorted(pairs),
        )

    def remove_all_pairs(self) -> None:
        """None is known."""
        self._cursor.execute("TRUNCATE recording_pairs")

    def set_due(self, numbers: Collection[int] | None, due: bool) -> None:
        """Say of these recordings, or of all, whether the verdicts on their files are to be settled."""
        some = numbers is None, list(numbers or ())
        self._cursor.execute(
            "UPDATE recordings SET due = %s WHERE due <> %s AND (%s OR id = ANY(%s))", (due, due, *some)
        )

    def due(self) -> set[int]:
        """The recordings whose files' verdicts are to be settled."""
        return {number for (number,) in self._rows("SELECT id FROM recordings WHERE due", ())}

    def files(self, numbers: Collection[int]) -> list[tuple[int, File]]:
        """Every file of these recordings, with the recording's number; signatures are left out."""
        sql = """
            SELECT r.id, f.label, f.key, f.fingerprint, f.recording, ''::bytea FROM recordings r
            JOIN recording_files f USING (fingerprint) WHERE r.id = ANY(%s)
            """
        return [(number, _file(fields)) for number, *fields in self._rows(sql, (list(numbers),))]

    def _rows(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        """Rows as tuples: those of one new clip are thousands."""
        from psycopg2.extensions import cursor

        with self._cursor.connection.cursor(cursor_factory=cursor) as plain:
            plain.execute(sql, parameters)
            return plain.fetchall()

    def _many(self, sql: str, rows: Sequence[tuple[Any, ...]], *, returns: bool = False) -> list[tuple[Any, ...]]:
        from psycopg2.extensions import cursor
        from psycopg2.extras import execute_values

        if not rows:
            return []
        with self._cursor.connection.cursor(cursor_factory=cursor) as plain:
            found = execute_values(plain, sql, rows, page_size=PAGE, fetch=returns)
        return list(found) if returns else []


def _file(fields: Sequence[Any]) -> File:
    label, key, fingerprint, recording, signature = fields
    return File(label, key, fingerprint, recording, bytes(signature))


def _signed(keys: Keys) -> list[int]:
    """PostgreSQL has no unsigned numbers."""
    signed: list[int] = keys.view(np.int32).tolist()
    return signed
