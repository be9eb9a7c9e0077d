"""Every command ends in one message: without services, with bad input, interrupted, into a closed pipe, with a bug."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genre_assets.cli import app, guard
from genre_assets.database import Database
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.stack import local
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.waiting import until

COMMAND = str(Path(sys.executable).with_name("genre-assets"))
NOBODY = "127.0.0.1:9"
AWAY = {
    "GENRE_S3_ENDPOINT_URL": f"http://{NOBODY}",
    "GENRE_S3_SECRET_KEY": "s",
    "GENRE_DATABASE_URL": f"postgresql://genre@{NOBODY}/genre",
    "GENRE_MLFLOW_DATABASE_URL": f"postgresql+psycopg2://genre@{NOBODY}/mlflow",
    "GENRE_MLFLOW_URL": f"http://{NOBODY}",
    "GENRE_DAGSTER_URL": f"http://{NOBODY}",
    "GENRE_TRITON_GRPC": NOBODY,
    "GENRE_TRITON_HTTP": NOBODY,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files whose names are markup, in a genre's folder."""
    inside = tmp_path / "music" / "rock"
    inside.mkdir(parents=True)
    for number in range(3):
        (inside / f"[bold]{number}[x].wav").write_bytes(sound_file(music(1, seed=number)))
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENRE_")}
    return {**kept, "GENRE_HOME": str(folder / "home"), "COLUMNS": "300", **AWAY, **more}


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=90
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["ingest", "music"], "genre-assets status"),
        (["run"], "genre-assets status"),
        (["predict", "music", "--wait", "1"], "genre-assets up"),
        (["promote", "champion", "--reason", "r"], "genre-assets status"),
        (["history"], "genre-assets status"),
        (["windows"], "genre-assets status"),
        (["quarantine"], "genre-assets status"),
        (["rollback", "1", "--reason", "r"], "genre-assets status"),
        (["review", "list.csv"], "genre-assets status"),
        (["backfill"], "genre-assets status"),
        (["alerts"], "genre-assets status"),
        (["status"], "unhealthy"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_without_services_each_command_says_so_and_what_to_do(folder: Path, arguments: list[str], advice: str) -> None:
    started = time.monotonic()
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert advice in done.stdout + done.stderr
    assert time.monotonic() - started < 60


def test_predict_says_at_once_that_nothing_answers(folder: Path) -> None:
    done = run(folder, "predict", "music", "--wait", "0.5")
    assert "nothing answers at 127.0.0.1:9 yet; trying for 0.5 s" in done.stderr


LABELS = "request_id,item,genre\nq,0,rock\n"
BAD_INPUT: list[tuple[list[str], str]] = [
    (["review", "missing.csv", "--take"], "missing.csv cannot be read: No such file"),
    (["review", "music", "--take"], "music cannot be read: Is a directory"),
    (["review", "latin.csv", "--take"], "latin.csv, line 3: the text is not UTF-8"),
    (["review", "columns.csv", "--take"], "columns.csv: the columns item, genre are missing"),
    (["review", "[/x].csv", "--take"], "error: [/x].csv cannot be read"),
    (["extract", "[/x].wav"], "error: there is no file [/x].wav"),
    (["extract", "[bold]", "music"], "error: there is no file [bold]"),
    (["ingest", "[/x]"], "error: there is no folder [/x]"),
    (["predict", "\x1b[31mred"], "error: \\x1b[31mred is not there"),
    (["predict", "caf\udce9.wav"], "error: caf\\udce9.wav is not there"),
    (["predict"], "give files, folders or s3://bucket/key addresses, or --batch s3://bucket/prefix, and not both"),
    (["predict", "music", "--batch", "s3://genre-raw/"], "and not both"),
    (["extract", "music", "-o", "music"], "music: Is a directory"),
    (["extract", "music", "-o", "no/such/folder.csv"], "no/such"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), BAD_INPUT, ids=[" ".join(a).encode("ascii", "replace").decode() for a, _ in BAD_INPUT]
)
def test_bad_input_is_one_message_in_which_foreign_markup_is_text(
    folder: Path, arguments: list[str], said: str
) -> None:
    (folder / "latin.csv").write_bytes(LABELS.encode() + b"caf\xe9,0,rock\n")
    (folder / "columns.csv").write_text("request_id;x\n")
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("audio", "said"),
    [("nowhere", "there is no folder nowhere"), ("~/nowhere", "there is no folder /"), ("music/rock", "has no audio in a folder")],
)  # fmt: skip
def test_the_demo_starts_nothing_for_a_folder_that_it_cannot_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch, audio: str, said: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(local, "up", lambda **_: pytest.fail("the services were started"))
    done = CliRunner().invoke(app, ["demo", "--audio", audio])
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())


def test_a_file_that_cannot_be_decoded_is_named_as_it_is(folder: Path) -> None:
    (folder / "[").mkdir()
    (folder / "[" / "x].wav").write_bytes(b"no audio")
    done = run(folder, "extract", "[/x].wav")
    assert done.returncode == 1
    assert "[/x].wav: " in done.stderr
    assert run(folder, "history", "--limit", "-1").returncode == 2


def test_a_pipe_that_is_closed_early_is_no_error(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [COMMAND, "extract", "music"]
    done = subprocess.run(
        arguments, cwd=folder, env=environment(folder), stdout=writing, stderr=subprocess.PIPE, text=True, timeout=90
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (guard.PIPE_CLOSED, "")


def test_ctrl_c_in_a_terminal_is_one_line_and_130(folder: Path) -> None:
    first = folder / "music" / "rock" / "0.wav"
    first.write_bytes(sound_file(music(20, seed=1)))
    for number in range(1, 900):  # more than are done before the key is pressed
        os.link(first, first.with_name(f"{number}.wav"))
    ours, theirs = pty.openpty()
    program = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.setsid(); "  # of a job in the background
        f"os.close(os.open(os.ttyname(2), os.O_RDWR)); os.execv({COMMAND!r}, sys.argv[1:])"
    )
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", program, COMMAND, "extract", "music"],
            cwd=folder, env=environment(folder, TERM="dumb"), stdin=theirs, stdout=out, stderr=theirs,
        )  # fmt: skip
    os.close(theirs)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def workers() -> list[Path]:
        found = [Path(f"/proc/{child}") for child in children.read_text().split()]
        return [child for child in found if b"genre_assets.audio.workers.process" in (child / "cmdline").read_bytes()]

    try:
        until(lambda: bool(workers()), "a worker is there", 60)
        for worker in workers():
            (blocked,) = re.findall(r"SigBlk:\s*(\w+)", (worker / "status").read_text())
            assert int(blocked, 16) & 1 << (signal.SIGINT - 1), "a worker would print its own traceback"
        os.write(ours, b"\x03")  # the terminal sends SIGINT to the command and to its workers
        said = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            said += more
        assert process.wait(30) == guard.INTERRUPTED
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        os.close(ours)
    assert b"Traceback" not in said, said
    assert b"interrupted" in said


def test_a_bug_names_the_file_of_its_traceback_and_debug_shows_it(folder: Path) -> None:
    program = (
        "import sys, genre_assets.cli as cli, genre_assets.audit as audit\n"
        "def history(*_, **__): raise ValueError('[/x] a bug')\n"
        "audit.history = history\ncli.main()"
    )

    def broken(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=90)

    done = broken("history")
    assert done.returncode == 1
    assert "error: ValueError: [/x] a bug" in done.stderr
    assert "Traceback" not in done.stderr
    (log,) = (folder / "home" / "logs").glob("command-*.log")
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert "Traceback" in broken("--debug", "history").stderr


def test_alerts_are_shown_from_the_database_and_from_the_supervisor(folder: Path, database: Database) -> None:
    book = Alerts(database, [], repeat=timedelta(hours=1))
    book.report("run:build", "a run of [bold]build[/x] failed", "boom\nand more", links={"run": "http://x/runs/1"})
    book.report("triton", "Triton does not serve", "b")
    book.resolve("triton", "again")
    own = {
        "key": "service:s3",
        "severity": "error",
        "title": "s3 is down",
        "body": "b",
        "opened_at": "2026-11-24T12:00:00+00:00",
    }
    (folder / "home" / "run").mkdir(parents=True)
    (folder / "home" / "run" / "alerts.json").write_text(json.dumps([{**own, "resolved_at": None}]))
    done = run(folder, "alerts", GENRE_DATABASE_URL=database.url)
    assert done.returncode == 0, done.stderr
    assert "error: s3 is down (service:s3)" in done.stdout
    assert "error: a run of [bold]build[/x] failed (run:build)" in done.stdout
    assert "run: http://x/runs/1" in done.stdout
    assert "notified: no channel is set (GENRE_ALERT_WEBHOOK, GENRE_ALERT_URLS)" in done.stdout
    assert "Triton does not serve" not in done.stdout
    everything = json.loads(run(folder, "alerts", "--all", "--json", GENRE_DATABASE_URL=database.url).stdout)
    assert [a["key"] for a in everything["alerts"]] == ["service:s3", "run:build", "triton"]
    without = run(folder, "alerts")
    assert without.returncode == 1
    assert "s3 is down" in without.stdout
    assert "the database does not answer" in without.stderr
