"""A file that is written whole: what a reader, a full disk and a kill leave of it."""

import resource
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genre_assets.disk.whole import unfinished, write_whole

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from genre_assets.disk.whole import unfinished
with unfinished(Path(sys.argv[1])) as part:
    part.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.json"
    path.write_text("the old one")
    return path


def beside(file: Path) -> list[str]:
    return [path.name for path in file.parent.iterdir()]


@pytest.mark.parametrize("content", ["the new one, größer", "the new one, größer".encode()])
def test_it_replaces_what_was_there(file: Path, content: str | bytes) -> None:
    write_whole(file, content)
    assert (file.read_bytes().decode(), beside(file)) == ("the new one, größer", [file.name])


def test_until_the_end_of_the_block_readers_find_the_old_file(file: Path) -> None:
    with unfinished(file) as part:
        part.write_text("the new one")
        assert (file.read_text(), part.parent) == ("the old one", file.parent)
    assert file.read_text() == "the new one"


def test_an_exception_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    with pytest.raises(KeyboardInterrupt), unfinished(file) as part:
        part.write_text("half of the n")
        raise KeyboardInterrupt
    assert (file.read_text(), beside(file)) == ("the old one", [file.name])


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    limit, usual = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(file, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, usual)
    assert (file.read_text(), beside(file)) == ("the old one", [file.name])


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_removes_the_rest(file: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)])
    assert (done.returncode, file.read_text(), len(beside(file))) == (-signal.SIGKILL, "the old one", 2)
    write_whole(file, "n")
    assert (file.read_text(), beside(file)) == ("n", [file.name])


def test_a_closed_file_is_closed_before_it_holds_anything(file: Path) -> None:
    (file.parent / f".{file.name}.part").touch(mode=0o644)  # a killed writer's, which others may hold open
    with unfinished(file, mode=0o600, synced=True) as part:
        assert (stat.S_IMODE(part.stat().st_mode), part.read_bytes()) == (0o600, b"")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_is_replaced_too_and_two_threads_do_not_share_a_name(file: Path) -> None:
    with unfinished(file, own_name=True) as link:
        link.symlink_to("elsewhere")
        with ThreadPoolExecutor() as pool:
            pool.submit(_replace_with_link, file, "there").result()
        assert file.readlink() == Path("there")
    assert (file.readlink(), beside(file)) == (Path("elsewhere"), [file.name])


def _replace_with_link(file: Path, target: str) -> None:
    with unfinished(file, own_name=True) as link:
        link.symlink_to(target)
