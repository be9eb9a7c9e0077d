"""The index of recordings, kept in PostgreSQL and asked about new files only: who is the same recording as whom.

It is derived: the inventories in the object store are the truth. Each label's part says which inventory it was made from;
one that is behind is compared with the table again, and an index of another version begins anew. What it decides is what
`same_recordings` decides over all signatures: the pairs that are kept are exactly those that it would find. That rests on
the order of files, so a change is followed under every key of what came, went or moved, and nowhere else.

Its work is done in steps that may end anywhere: a recording is `due` from the moment that something about it changed until
the verdicts on its files are written to the tables and `settled` says so.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from genre_assets.audio.recordings import changes, fingerprint
from genre_assets.audio.recordings.changes import difference
from genre_assets.audio.recordings.index_rows import File, IndexRows
from genre_assets.database import Database

MANY = 1000  # changed files from which all pairs are found anew: it costs less than looking under every key of each
BEHIND = ""


@dataclass(frozen=True)
class Due:
    """Files of one recording each, in the order of label and key, whose verdicts are to be settled; and `settled`'s numbers."""

    groups: tuple[tuple[File, ...], ...]
    numbers: frozenset[int]


class RecordingIndex:
    """The index in one database, for one raw bucket."""

    def __init__(self, database: Database, bucket: str, say: Callable[[str], object] = lambda _: None) -> None:
        self._database = database
        self._version = f"{fingerprint.VERSION} of {bucket}"
        self._say = say

    @contextmanager
    def _rows(self) -> Iterator[IndexRows]:
        with self._database.transaction() as cursor:
            rows = IndexRows(cursor)
            rows.lock()
            yield rows

    def behind(self, claims: Mapping[str, str]) -> list[str]:
        """The labels whose part of the index is not of the inventory with this name. Raises `TransientFailure`."""
        with self._rows() as rows:
            if rows.is_whole(self._version) is None:
                rows.clear(self._version)
            held = rows.claims()
        return [label for label, name in claims.items() if held.get(label, BEHIND) != name]

    def follow(self, labels: Sequence[str], read: Callable[[str], Sequence[File]], names: Sequence[str]) -> None:
        """Let the index hold the files of these labels, as `read` gives them, and of none that is not among `names`.

        Each is behind from here on, until `settled` names the inventory that was written. Raises `TransientFailure`.
        """
        with self._rows() as rows:
            gone = [label for label in rows.claims() if label not in names]
            whole = rows.is_whole(self._version)
            wanted: dict[str, Sequence[File]] = {label: read(label) for label in labels} | dict.fromkeys(gone, ())
            differences = [difference(label, rows.files_of(label), files) for label, files in wanted.items()]
            count = sum(one.size for one in differences)
            if whole and count <= MANY:
                rows.claim(dict.fromkeys(labels, BEHIND))
                changes.follow(rows, differences)
                rows.forget(gone)
                return
            rows.set_whole(False)
        self._say(f"index of recordings: {count} files changed, all pairs are found anew")
        for one in differences:
            with self._rows() as rows:  # each label by itself, so that an interrupted run has done it
                if one.label in gone:
                    rows.forget([one.label])
                else:
                    rows.claim({one.label: BEHIND})
                changes.take(rows, one)
            self._say(f"index of recordings: {one.label}, {len(one.come)} files more, {len(one.gone)} fewer")
        with self._rows() as rows:
            changes.pair_all(rows)
            rows.set_whole(True)
        self._say("index of recordings: all pairs are found")

    def due(self, also: Collection[str] = ()) -> Due:
        """The groups of files about which something changed, and those of files with the content hashes `also`."""
        with self._rows() as rows:
            due, pairs = rows.due(), set[tuple[int, int]]()
            due = {*due, *(recording.number for recording in rows.recordings(also).values())}
            reached, edge = set(due), set(due)
            while edge:
                found = rows.pairs_of(edge)
                pairs |= found
                edge = {number for pair in found for number in pair} - reached
                reached |= edge
            files = rows.files(reached)
        return Due(tuple(_groups(reached, pairs, files)), frozenset(due))

    def settled(self, done: Due, claims: Mapping[str, str]) -> None:
        """Say that the tables hold the verdicts, and by which names the inventories of labels are known now."""
        with self._rows() as rows:
            rows.set_due(done.numbers, False)
            rows.claim(claims)

    def holders(self, fingerprints: Sequence[str]) -> set[str]:
        """The labels that have a file with one of these content hashes."""
        with self._database.transaction() as cursor:
            return IndexRows(cursor).holders(fingerprints)


def _groups(
    reached: set[int], pairs: set[tuple[int, int]], files: Sequence[tuple[int, File]]
) -> Iterator[tuple[File, ...]]:
    """The files of recordings that are connected by pairs, each group in the order of label and key."""
    from scipy.cluster.hierarchy import DisjointSet

    connected = DisjointSet(reached)
    for one, other in pairs:
        connected.merge(one, other)
    of_root: dict[int, list[File]] = {}
    for number, file in files:
        of_root.setdefault(connected[number], []).append(file)
    for members in of_root.values():
        yield tuple(sorted(members, key=lambda file: file.place))
