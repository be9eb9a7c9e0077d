"""Logs are bounded while a process writes to them."""

import stat
import subprocess
import sys
from pathlib import Path

from genre_assets.stack.supervision.log_files import rotate
from genre_assets_tests.waiting import until

WRITER = """
import time
while True:
    print("x" * 99, flush=True)
    time.sleep(0.0005)
"""


def test_a_log_is_bounded_while_its_process_goes_on_writing(tmp_path: Path) -> None:
    log, limit = tmp_path / "service.log", 20_000
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=output)
    try:
        for _ in range(3):
            until(lambda: rotate(log, limit), "the log is rotated", 60)
            assert log.stat().st_size < limit
        until(lambda: log.stat().st_size > 0, "the process writes on", 60)
    finally:
        process.kill()
        process.wait()
    kept = tmp_path / "service.log.1"
    assert kept.stat().st_size >= limit
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"service.log", "service.log.1"}
    assert b"\0" not in log.read_bytes()  # a writer that did not append would leave a hole


def test_a_short_or_missing_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("short")
    assert not rotate(tmp_path / "a.log", 100)
    assert not rotate(tmp_path / "b.log", 100)
    assert (tmp_path / "a.log").read_text() == "short"
