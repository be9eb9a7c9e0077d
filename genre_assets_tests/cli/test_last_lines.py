"""Every command ends with a line that says what came of it; none can be forgotten: they are taken from the program itself."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genre_assets import audit, keys
from genre_assets.audio.tables import inventory
from genre_assets.cli import app
from genre_assets.database import Database
from genre_assets.gateway.access import api_keys
from genre_assets.inference import request_log
from genre_assets.serving.alerts.manager import Alerts
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.cli.commands import not_among
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.live import Stack
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame


@dataclass(frozen=True)
class Platform:
    """A database and an object store whose addresses the environment states, and a folder to work in."""

    settings: Settings
    store: ObjectStore
    database: Database
    folder: Path


@pytest.fixture
def platform(
    database: Database, store: ObjectStore, s3_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Platform:
    stated = {
        "HOME": str(tmp_path / "home"), "S3_ENDPOINT_URL": s3_settings.s3_endpoint_url or "",
        "S3_SECRET_KEY": s3_settings.s3_secret_key.get_secret_value(), "DATABASE_URL": database.url,
        "WINDOW_SIZE": "32", "WINDOW_MINIMUM": "24",
    }  # fmt: skip
    for name, value in stated.items():
        monkeypatch.setenv(f"GENRE_{name}", value)
    monkeypatch.chdir(tmp_path)
    keep_ten(store, s3_settings)
    settings = s3_settings.model_copy(update={"window_size": 32, "window_minimum": 24})
    return Platform(settings, store, database, tmp_path)


def nothing(_: Platform) -> None:
    """As it is after the first start."""


def clips(platform: Platform) -> None:
    (platform.folder / "music" / "rock").mkdir(parents=True)
    for number in range(2):
        (platform.folder / "music" / "rock" / f"{number}.wav").write_bytes(sound_file(music(1, seed=number)))


def clips_and_a_broken_one(platform: Platform) -> None:
    clips(platform)
    (platform.folder / "music" / "rock" / "broken.wav").write_bytes(b"no audio")


def judged_window(platform: Platform) -> None:
    platform.store.write_parquet(platform.settings.serving_bucket, keys.reference(1), reference_frame())
    request_log.insert(platform.database, log_rows(32, seed=4))
    window_store.cut(platform.database, Rules.from_settings(platform.settings), START + timedelta(minutes=10))
    assert len([*evaluate.evaluate_waiting(platform.database, platform.store, platform.settings)]) == 1


def judged_window_with_report(platform: Platform) -> None:
    judged_window(platform)
    (judged,) = window_store.newest(platform.database, 2)
    window_store.save_report(platform.database, judged.window.id, "drift/report.json")


def a_key(platform: Platform) -> None:
    api_keys.create(platform.database, "phone", frozenset({api_keys.Scope.PREDICT}), by="ann")


def two_alerts(platform: Platform) -> None:
    book = Alerts(platform.database, [], repeat=timedelta(hours=1))
    for key in ("run:build", "triton"):
        book.report(key, "it is so", "see there")


def a_move(platform: Platform) -> None:
    audit.record(platform.database, "route", moved_from=None, moved_to="champion", actor="build", reason="first")


def two_in_quarantine(platform: Platform) -> None:
    rows = [
        {**dict.fromkeys(inventory.COLUMNS, 0), "key": f"jazz/{n}.wav", "verdict": "too_short", "detail": "", "last_modified": START}
        for n in range(2)
    ]  # fmt: skip
    platform.store.write_parquet(platform.settings.features_bucket, keys.quarantine("jazz"), inventory.table(rows))


def a_filled_in_list(platform: Platform) -> None:
    (platform.folder / "list.csv").write_text("request_id,item,genre\nq,0,rock\n")


def a_log(platform: Platform) -> None:
    (platform.folder / "home" / "logs").mkdir(parents=True)
    (platform.folder / "home" / "logs" / "s3.log").write_text("one\ntwo\n")


ENDS: list[tuple[str, Callable[[Platform], None], str]] = [
    ("down", nothing, r"no stack runs in \S+/home: there was nothing to stop"),
    ("migrate", nothing, r"the tables are at version \w+"),
    ("env new.env", nothing, r"new\.env is written, for its owner alone; next: docker compose up --build --wait"),
    ("logs s3", a_log, r"all of it: \S+/s3\.log"),
    ("alerts", nothing, "no alert is open"),
    ("alerts", two_alerts, "2 alerts are open"),
    ("alerts --limit 1", two_alerts, "1 alert is open; there may be more: --limit 2"),
    ("ingest music", clips, r"2 uploaded, 0 unchanged, in s3://genre-raw; 10 labels: .*"),
    ("ingest --remove-tables", nothing, "there are no ready tables"),
    ("labels", nothing, "10 labels, version .*"),
    ("labels add polka", nothing, "added: polka.*"),
    ("labels rename jazz swing", nothing, "jazz is swing now, 0 objects moved.*"),
    ("labels remove jazz", nothing, "removed: jazz.*"),
    ("quarantine", nothing, "every file is used"),
    ("quarantine", two_in_quarantine, "2 files are in quarantine"),
    ("quarantine --limit 1", two_in_quarantine, "1 file is in quarantine; there may be more: --limit 2"),
    ("extract music", clips, r"2 files: 2 rows of 154 features \(default\)"),
    ("extract music -o out.csv", clips_and_a_broken_one, r"3 files: 2 rows of 154 features \(default\), in out\.csv; 1 could not be read"),
    ("api-keys", nothing, "there are no keys yet.*"),
    ("api-keys add phone --scope predict", nothing, "the key of phone, for predict.*"),
    ("api-keys revoke phone", a_key, "the key of phone is revoked"),
    ("report", judged_window_with_report, r"http://\S+/v1/windows/\S+/report"),
    ("open", nothing, r"http://\S+:8405"),
    ("history", nothing, "nothing has moved yet"),
    ("history", a_move, "1 move"),
    ("windows", nothing, "no window has been evaluated yet"),
    ("windows", judged_window, "1 window"),
    ("backfill", nothing, "0 windows evaluated again, 0 with another level than before, 0 cut only now"),
    ("review list.csv", nothing, r"\d+ clips listed in list\.csv: fill in .*"),
    ("review list.csv --take", a_filled_in_list, "1 labels sent as .*"),
]  # fmt: skip
ON_THE_STACK = {
    "up": r"the stack in \S+ is up: \d+ services, each healthy; Dagster \S+, gateway \S+; stop it with: genre-assets down",
    "status": "route: champion",
    "run drift": "drift: done",
    "predict {clip} {clip}": "2 items asked, 0 failed",
    "promote champion --reason test": "champion serves",
}
ELSEWHERE = {  # what is too dear to be done once more, with the test that reads what it says at its end
    "doctor": "cli/test_doctor.py",
    "backup": "backup/test_backup.py",
    "restore": "backup/test_backup.py",
    "demo": "the fixture `stack` runs it; integration/test_main_job.py",
    "gtzan": "audio/test_gtzan.py; the data set is not fetched",
    "batch": "integration/test_main_job.py",
    "rollback": "integration/test_main_job.py",
}


def test_no_command_is_forgotten() -> None:
    assert not_among([*(words for words, *_ in ENDS), *ON_THE_STACK]) == ELSEWHERE.keys()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "before", "said"), ENDS, ids=[f"{n}-{words}" for n, (words, _, _) in enumerate(ENDS)]
)
def test_a_command_ends_with_what_came_of_it(
    platform: Platform, words: str, before: Callable[[Platform], None], said: str
) -> None:
    before(platform)
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == ("could not be read" in said), done.output
    assert re.fullmatch(said, last_line(done.output)), done.output


@pytest.mark.stack
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("words", "said"), ON_THE_STACK.items(), ids=lambda value: value.split()[0])
def test_a_command_on_the_running_stack_ends_with_what_came_of_it(stack: Stack, words: str, said: str) -> None:
    clip = min((stack.audio / "pop").iterdir())
    arguments: Sequence[str] = words.format(clip=clip).split()
    done = stack.command(*arguments)
    assert re.fullmatch(said, last_line(done.stdout + done.stderr)), done.stdout + done.stderr
