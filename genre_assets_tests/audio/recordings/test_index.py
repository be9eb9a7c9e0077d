"""The index of recordings decides what all signatures together decide, whatever came, went or moved, and in which order."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from genre_assets.audio.decoding.reasons import OK, Reason
from genre_assets.audio.recordings import changes, fingerprint, index, index_rows, neighbours
from genre_assets.audio.recordings.fingerprint import recording_id
from genre_assets.audio.recordings.index import RecordingIndex
from genre_assets.audio.tables import inventory, settlement
from genre_assets.database import Database
from genre_assets.errors import TransientFailure

LABELS = ("finch", "robin", "wren")
WORDS = 72  # 3.3 s: a common stretch of 3 s is just had
Tables = dict[str, pd.DataFrame]


class Bucket:
    """Files that come, go, move and change at random; few sounds, so that many stand under every key of the index."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.sounds = self.random.integers(0, 2**16, (6, WORDS), dtype=np.uint16)
        self.files: dict[tuple[str, str], tuple[str, bytes]] = {}  # label, key -> fingerprint, signature
        self.count = 0

    def add(self) -> None:
        """A copy of a sound, in which few of the bits are others, about as many as may be, or half; most in one label."""
        sound = int(self.random.integers(len(self.sounds)))
        label = LABELS[sound % 3] if self.random.random() < 0.95 else str(self.random.choice(LABELS))
        self.files[self.key(label)] = self.copy_of(sound)

    def copy_of(self, sound: int) -> tuple[str, bytes]:
        self.count += 1
        turned = self.random.random((WORDS, 16)) < self.random.choice([0.01, 0.01, 0.14, 0.27, 0.5])
        words = self.sounds[sound] ^ np.packbits(turned, axis=1).view(np.uint16).ravel()
        cut = int(self.random.choice([0, 0, 0, 3]))
        return hashlib.sha256(f"{self.count}".encode()).hexdigest(), words[cut:].tobytes()

    def key(self, label: str) -> tuple[str, str]:
        return label, f"{label}/{self.random.integers(10**6)}.wav"

    def some(self) -> tuple[str, str]:
        places = sorted(self.files)
        return places[int(self.random.integers(len(places)))]

    def change(self, times: int) -> None:
        for _ in range(times):
            what = self.random.choice(["come", "come", "come", "copy", "go", "move", "overwrite", "resound"])
            if what == "come" or len(self.files) < 3:
                self.add()
            elif what == "copy":
                place = self.some()
                self.files[self.key(place[0])] = self.files[place]
            elif what == "go":
                del self.files[self.some()]
            elif what == "move":  # to another key, now and then of another label
                place = self.some()
                label = place[0] if self.random.random() < 0.9 else str(self.random.choice(LABELS))
                self.files[self.key(label)] = self.files.pop(place)
            elif what == "overwrite":
                self.files[self.some()] = self.copy_of(int(self.random.integers(len(self.sounds))))
            else:  # the same bytes, looked at by other rules
                place = self.some()
                self.files[place] = self.files[place][0], self.copy_of(int(self.random.integers(len(self.sounds))))[1]

    def inventories(self) -> Tables:
        """What an inspection of every file gives."""
        return {label: inventory.table(map(self.row, self.of(label))) for label in LABELS}

    def of(self, label: str) -> Iterator[tuple[str, str]]:
        return (place for place in sorted(self.files) if place[0] == label)

    def row(self, place: tuple[str, str]) -> dict[str, object]:
        fingerprint, signature = self.files[place]
        return {
            "key": place[1], "etag": "e", "size": 1, "last_modified": "2026-11-29T00:00:00Z", "fingerprint": fingerprint,
            "recording": recording_id(signature, fingerprint), "duration_s": 4.0, "sample_rate": 22050, "channels": 1,
            "format": "WAV", "verdict": OK, "detail": "", "signature": signature, "rules": "r",
        }  # fmt: skip


class Stored:
    """The tables that are written, and the index beside them, as an update of some labels leaves them."""

    def __init__(self, database: Database) -> None:
        self.said: list[str] = []
        self.database = database
        self.index = RecordingIndex(database, "raw", self.said.append)
        self.tables = {label: inventory.table([]) for label in LABELS}
        self.names = dict.fromkeys(LABELS, "")

    def update(self, found: Tables, labels: tuple[str, ...]) -> settlement.Settlement:
        """Settle the inventories of some labels by the index, which may be killed before it writes."""
        fresh = {label: self.known(found[label], self.tables[label]) for label in labels}
        return settlement.by_index(self.index, fresh, self.tables.__getitem__, self.names)

    def known(self, found: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
        """Rows that are as they were are taken from the stored table, with the verdicts that they have there."""
        facts = ["key", "fingerprint", "signature"]
        old = {tuple(row[fact] for fact in facts): row for row in stored.to_dict("records")}
        rows = [old.get(tuple(row[fact] for fact in facts), row) for row in found.to_dict("records")]
        return inventory.table(rows)  # type: ignore[arg-type]

    def write(self, settled: settlement.Settlement, labels: tuple[str, ...] | None = None) -> None:
        """Write the tables of a settlement, or those of some labels, before the process dies."""
        for label, frame in settled.tables.items():
            if labels is None or label in labels:
                self.tables[label] = frame
                digest = hashlib.sha256(frame.drop(columns="signature").to_csv().encode()).hexdigest()
                self.names[label] = digest

    def tell(self, settled: settlement.Settlement) -> None:
        assert settled.due is not None
        self.index.settled(settled.due, {label: self.names[label] for label in {*settled.tables, *settled.behind}})

    def assert_right(self, expected: Tables) -> None:
        for label in LABELS:
            facts = ["key", "fingerprint", "recording", "verdict", "detail"]
            pd.testing.assert_frame_equal(self.tables[label][facts], expected[label][facts])


@pytest.fixture
def stored(database: Database) -> Stored:
    return Stored(database)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for each time that all pairs were found anew."""
    calls: list[str] = []
    pair_all = changes.pair_all

    def counted(rows: index_rows.IndexRows) -> None:
        calls.append("all")
        pair_all(rows)

    monkeypatch.setattr(changes, "pair_all", counted)
    return calls


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))]


@pytest.mark.parametrize("seed", SEEDS)
def test_it_decides_what_all_signatures_decide(
    stored: Stored, seed: int, anew: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, seen, parted = Bucket(seed), Counter[str](), 0
    look = neighbours.change

    def counted(entries: neighbours.Entries) -> neighbours.Change:
        nonlocal parted
        found = look(entries)
        parted += len(found.lost)
        return found

    monkeypatch.setattr(neighbours, "change", counted)
    for _ in range(80):
        bucket.add()
    for _ in range(8):
        bucket.change(int(bucket.random.integers(1, 12)))
        found = bucket.inventories()
        settled = stored.update(found, LABELS)
        stored.write(settled)
        stored.tell(settled)
        expected = settlement.over_all(found).tables
        stored.assert_right(expected)
        seen += Counter(verdict for table in expected.values() for verdict in table["verdict"])
    assert set(seen) == {OK, Reason.DUPLICATE, Reason.DUPLICATE_RECORDING, Reason.CONFLICTING_LABEL}
    assert anew == [], "new files alone were asked about"
    assert parted > 0, "some stood so close under a key that others came between"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_dies_anywhere_leaves_what_the_next_one_puts_right(
    stored: Stored, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(100 + seed)
    monkeypatch.setattr(index, "MANY", 8)
    for step in range(12):
        bucket.change(int(bucket.random.integers(1, 12)))
        found = bucket.inventories()
        some = tuple(label for label in LABELS if bucket.random.random() < 0.6)
        ends = bucket.random.choice(["before it writes", "between tables", "before it tells", "never", "emptied"])
        settled = stored.update(found, some)
        if ends == "between tables":
            stored.write(settled, LABELS[: int(bucket.random.integers(3))])
        elif ends != "before it writes":
            stored.write(settled)
        if ends == "never":
            stored.tell(settled)
        elif ends == "emptied":
            stored.database.execute("TRUNCATE recording_index, recording_files, recordings")
        if step % 4 == 3:
            settled = stored.update(found, LABELS)
            stored.write(settled)
            stored.tell(settled)
            stored.assert_right(settlement.over_all(found).tables)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_rebuild_that_is_interrupted_goes_on_where_it_was(
    stored: Stored, after: int, anew: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(7)
    bucket.change(60)
    found = bucket.inventories()
    monkeypatch.setattr(index, "MANY", 8)
    takes, take = 0, changes.take

    def dies(rows: index_rows.IndexRows, change: changes.Difference) -> None:
        nonlocal takes
        take(rows, change)
        takes += change.size > 0
        if takes == after:
            raise TransientFailure("killed")

    with monkeypatch.context() as patch:
        patch.setattr(changes, "take", dies)
        with pytest.raises(TransientFailure):
            stored.update(found, LABELS)
    stored.said.clear()
    settled = stored.update(found, LABELS)
    stored.write(settled)
    stored.tell(settled)
    stored.assert_right(settlement.over_all(found).tables)
    assert anew == ["all"]
    missing = [line for line in stored.said if re.search(r": \w+, [1-9]\d* files more", line)]
    assert len(missing) == len(LABELS) - (after - 1)
    anew.clear()
    stored.write(stored.update(found, LABELS))
    assert anew == [], "it is whole"


def test_an_index_of_another_fingerprint_begins_anew(
    stored: Stored, anew: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(3)
    bucket.change(30)
    found = bucket.inventories()
    settled = stored.update(found, LABELS)
    stored.write(settled)
    stored.tell(settled)
    stored.database.execute("DELETE FROM recording_pairs")  # which nothing tells
    monkeypatch.setattr(fingerprint, "VERSION", "next")
    stored.index = RecordingIndex(stored.database, "raw")
    settled = stored.update(found, ())
    stored.write(settled)
    stored.assert_right(settlement.over_all(found).tables)


def test_a_label_that_is_no_more_takes_its_files_along(stored: Stored) -> None:
    bucket = Bucket(5)
    bucket.change(40)
    found = bucket.inventories()
    settled = stored.update(found, LABELS)
    stored.write(settled)
    stored.tell(settled)
    left = LABELS[1:]
    del stored.names[LABELS[0]], stored.tables[LABELS[0]]
    settled = stored.update(found, left[:1])
    stored.write(settled)
    expected = settlement.over_all({label: found[label] for label in left}).tables
    for label in left:
        pd.testing.assert_frame_equal(stored.tables[label], expected[label])
    assert stored.database.rows("SELECT DISTINCT label FROM recording_files ORDER BY 1") == [
        {"label": label} for label in left
    ]


def test_without_its_database_nothing_is_decided() -> None:
    away = RecordingIndex(Database("postgresql://nobody@127.0.0.1:9/none"), "raw")
    with pytest.raises(TransientFailure, match="the database does not answer"):
        settlement.by_index(away, {}, lambda _: inventory.table([]), {"wren": ""})
