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
from genre_assets.serving.prediction_log import read
from genre_assets.serving.prediction_spool import PredictionLog
from genre_assets_tests.serving.test_prediction_log import row
from genre_assets_tests.waiting import until

NOWHERE = Database("postgresql://nobody@127.0.0.1:1/none")


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
from genre_assets.serving.prediction_spool import PredictionLog
from genre_assets_tests.serving.test_prediction_log import row
log = PredictionLog(Path(sys.argv[1]), Database(sys.argv[2]), max_bytes=2**20, retention_days=90)
for i in range(1000):
    log.append([row(item=i)])
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
def test_a_torn_line_costs_only_itself(database: Database, tmp_path: Path) -> None:
    whole = json.dumps(list(asdict(row(item=7)).values()))
    (tmp_path / "00000000000000000001-1.jsonl").write_text(f"{whole}\n{whole[:40]}")
    log = spool(tmp_path, database)
    until(lambda: log.backlog() == 0, "an empty spool", 15)
    assert read(database)["item"].tolist() == [7]
    log.close()


@pytest.mark.stack
def test_a_segment_that_the_database_refuses_does_not_hold_up_the_next(database: Database, tmp_path: Path) -> None:
    bad = asdict(row(item=1))
    bad["id"] = "not a uuid"
    (tmp_path / "00000000000000000001-1.jsonl").write_text(json.dumps(list(bad.values())) + "\n")
    log = spool(tmp_path, database)
    log.append([row(item=2)])
    until(lambda: len(read(database)) == 1, "the row", 15)
    assert [p.suffix for p in tmp_path.iterdir()] == [".refused"]
    log.close()


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
