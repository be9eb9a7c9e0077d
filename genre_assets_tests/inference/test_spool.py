"""The spool: nothing is lost to an outage or a kill, nothing is logged twice, and the disk does not fill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from genre_assets.database import Database
from genre_assets.inference import spool as prediction_spool
from genre_assets.inference.request_log import COLUMNS, REQUIRED, Row, read
from genre_assets.inference.request_rows import Refused
from genre_assets.inference.set_aside import SetAside
from genre_assets.inference.spool import LogState, PredictionLog
from genre_assets_tests.inference.test_request_log import row as any_row
from genre_assets_tests.waiting import until

NOWHERE = Database("postgresql://nobody@127.0.0.1:1/none")


def row(**changes: object) -> Row:
    return any_row(**{"ts": time.time(), **changes})


def spool(folder: Path, database: Database, *, max_bytes: int = 2**20) -> PredictionLog:
    return PredictionLog(folder, database, max_bytes=max_bytes, retention_days=90)


@pytest.mark.stack
def test_rows_arrive_behind_the_request_and_the_spool_is_empty_after(database: Database, tmp_path: Path) -> None:
    log = spool(tmp_path, database)
    log.append([row(item=i) for i in range(5)])
    until(lambda: log.backlog() == 0, "an empty spool", 15)
    assert read(database)["item"].tolist() == [0, 1, 2, 3, 4]
    log.close()


def test_appending_returns_at_once_while_the_database_is_away(tmp_path: Path) -> None:
    log = spool(tmp_path, NOWHERE)
    started = time.monotonic()
    for i in range(100):
        log.append([row(item=i)])
    assert time.monotonic() - started < 1.0
    until(lambda: "does not answer" in log.problem, "the outage is told", 15)
    log.close()
    assert sum(path.read_bytes().count(b"\n") for path in tmp_path.iterdir()) == 100


@pytest.mark.stack
def test_an_outage_costs_no_row(database: Database, tmp_path: Path) -> None:
    log = spool(tmp_path, NOWHERE)
    log.append([row(item=0)])
    until(lambda: log.problem != "", "the problem is told", 15)
    log.append([row(item=1)])
    log.database = database
    log.append([row(item=2)])
    until(lambda: log.backlog() == 0, "an empty spool", 15)
    assert sorted(read(database)["item"]) == [0, 1, 2]
    log.close()


KILLED = """
import sys, time
from pathlib import Path
from genre_assets.database import Database
from genre_assets.inference.spool import PredictionLog
from genre_assets_tests.inference.test_request_log import row
log = PredictionLog(Path(sys.argv[1]), Database(sys.argv[2]), max_bytes=2**20, retention_days=90)
for i in range(1000):
    log.append([row(item=i, ts=time.time())])
    print(i, flush=True)
    time.sleep(0.002)
"""


@pytest.mark.stack
def test_a_killed_process_loses_no_row_that_it_acknowledged(database: Database, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), NOWHERE.url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 150:
            process.send_signal(signal.SIGKILL)
    process.wait()
    log = spool(tmp_path, database)
    until(lambda: log.backlog() == 0, "an empty spool", 15)
    logged = read(database)["item"].tolist()
    assert set(range(acknowledged + 1)) <= set(logged)
    assert len(logged) == len(set(logged))
    log.close()
    process.stdout.close()


@pytest.mark.stack
def test_the_open_segment_of_a_living_process_is_left_alone(database: Database, tmp_path: Path) -> None:
    living = spool(tmp_path, NOWHERE)
    living._ending.set()
    living._thread.join()
    living.append([row(item=1)])
    other = spool(tmp_path, database)
    time.sleep(1.5)
    assert len(list(tmp_path.glob("*.open"))) == 1
    other.close()
    living.close()


@pytest.mark.stack
def test_a_line_that_an_older_release_left_on_disk_is_taken_in(database: Database, tmp_path: Path) -> None:
    """It has the values of its time: the later columns stay empty."""
    older = row(item=0)
    values = [getattr(older, name) for name in COLUMNS[:REQUIRED]]
    (tmp_path / "0.jsonl").write_text(json.dumps(values) + "\n" + json.dumps(values[:-1]) + "\n")
    log = spool(tmp_path, database)
    until(lambda: len(read(database)) == 1 and log.set_aside == 1, "one row, and one line that is too short")
    log.close()
    (kept,) = read(database).to_dict("records")
    assert (kept["id"], kept["tag"], kept["format"]) == (older.id, None, None)


@pytest.mark.stack
def test_a_torn_line_costs_only_itself(database: Database, tmp_path: Path) -> None:
    whole = json.dumps(list(asdict(row(item=7)).values()))
    (tmp_path / "00000000000000000001-1.jsonl").write_text(f"{whole}\n{whole[:40]}")
    log = spool(tmp_path, database)
    until(lambda: log.backlog() == 0, "an empty spool", 15)
    assert read(database)["item"].tolist() == [7]
    log.close()


@pytest.mark.stack
def test_rows_that_the_table_cannot_hold_are_set_aside_alone(database: Database, tmp_path: Path) -> None:
    """Also those of a segment that an earlier edition refused whole."""
    bad: list[dict[str, object]] = [
        {"id": "no uuid"}, {"version": 99_999_999_999}, {"ts": 0.0}, {"ts": 1e300}, {"ts": time.time() + 9e6},
        {"features": [1e300]}, {"features": [float("nan")]}, {"features": "text"}, {"confidence": float("inf")},
        {"model": None}, {"item": True}, {"ts": "yesterday"},
    ]  # fmt: skip
    lines = [
        json.dumps(list(asdict(row(item=1)).values()) if not c else list((asdict(row()) | c).values()))
        for c in [{}, *bad, {}]
    ]
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "00000000000000000001-1.refused").write_text("\n".join([*lines, "[1]", "{", "[" * 9999, ""]))
    log = spool(folder, database)
    log.append([row(item=2, request_id="a\0b", error="\ud800", features=[1e-300, 1.0])])
    until(lambda: log.backlog() == 0 and len(read(database)) == 3, "the good rows", 20)
    log.close()
    (aside,) = (tmp_path / "spool_set_aside").iterdir()
    assert log.set_aside == len(aside.read_text().splitlines()) == len(bad) + 3
    assert list(folder.iterdir()) == []
    assert set(read(database)["request_id"]) == {"r", "a\ufffdb"}
    assert len(database.rows("SELECT 1 FROM pg_inherits WHERE inhparent = 'served_requests'::regclass")) == 1


@pytest.mark.stack
def test_a_row_that_the_database_refuses_for_a_reason_of_its_own_costs_only_itself(
    database: Database, tmp_path: Path
) -> None:
    read(database)
    database.execute("ALTER TABLE served_requests ADD CONSTRAINT no_polka CHECK (label <> 'polka')")
    log = spool(tmp_path / "spool", database)
    log.append([row(item=i, label="polka" if i in {3, 4, 40} else "rock") for i in range(50)])
    until(lambda: log.backlog() == 0, "an empty spool", 20)
    log.close()
    assert len(read(database)) == 47
    assert log.set_aside == 3


@pytest.mark.stack
def test_nothing_that_is_raised_ends_the_thread(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> int:
        raise MemoryError("deliberately")

    monkeypatch.setattr(prediction_spool, "insert", broken)
    states: list[LogState] = []
    log = PredictionLog(tmp_path / "spool", database, max_bytes=2**20, retention_days=800_000, tell=states.append)
    log.append([row()])
    until(lambda: "MemoryError" in log.problem, "the problem is told", 15)
    before = log.shipped_at
    monkeypatch.undo()
    until(lambda: bool(states) and states[-1].backlog == 0 and states[-1].shipped_at > before, "it goes on", 30)
    log.close()
    assert (len(read(database)), log.problem) == (1, "")


def test_what_is_set_aside_is_bounded_apart_and_what_goes_is_counted(tmp_path: Path) -> None:
    aside = SetAside(tmp_path / "aside", 700)
    for number in range(5):
        assert aside.keep(f"{number:020d}-1", [Refused("x" * 300, "why")]) == 1
    assert aside.keep(f"{4:020d}-1", [Refused("x" * 300, "why")]) == 0  # the same again, after a kill
    assert aside.bound() == 3
    assert [path.name[19] for path in sorted(aside.folder.iterdir())] == ["3", "4"]


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    line = json.dumps(list(asdict(row()).values())) + "\n"
    for n in range(5):
        (tmp_path / f"{n:020d}-1.jsonl").write_text(line * 10)
    log = spool(tmp_path, NOWHERE, max_bytes=len(line) * 25)
    until(lambda: log.dropped > 0, "rows are dropped", 15)
    log.close()
    assert log.dropped == 30
    assert sorted(p.name[:20] for p in tmp_path.iterdir()) == [f"{n:020d}" for n in (3, 4)]


def test_a_disk_that_refuses_is_counted_and_never_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = spool(tmp_path, NOWHERE)

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.append([row(), row()])
    monkeypatch.undo()
    assert log.dropped == 2
    assert "No space" in log.problem
    log.close()


def test_half_a_line_on_a_full_disk_is_taken_back_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = spool(tmp_path, NOWHERE)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:50]))
    log.append([row(item=1)])
    monkeypatch.undo()
    log.append([row(item=2)])
    log.close()
    assert log.dropped == 1
    (line,) = b"".join(path.read_bytes() for path in tmp_path.iterdir()).splitlines()
    assert json.loads(line)[3] == 2


def test_appending_is_cheap(tmp_path: Path) -> None:
    """Off the request path means tens of microseconds; the bound is wide for a busy machine."""
    log = spool(tmp_path, NOWHERE, max_bytes=2**26)
    features = [0.1] * 120
    times = []
    for i in range(300):
        one = [row(item=i, features=features)]
        started = time.perf_counter()
        log.append(one)
        times.append(time.perf_counter() - started)
    log.close()
    assert sorted(times)[150] < 0.002
    assert list(tmp_path.iterdir())
