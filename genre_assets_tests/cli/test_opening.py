"""`open` and `report`: addresses that are printed, and opened where there is a display; the help that costs nothing."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from genre_assets.cli import app
from genre_assets.cli.serving import windows
from genre_assets.database import Database
from genre_assets.inference import request_log
from genre_assets.serving.drift import evaluate, window_store
from genre_assets.serving.drift.windows import Rules
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.live import COMMAND
from genre_assets_tests.serving.drift.data import START, log_rows, reference_frame

MOST_MODULES = 600  # of a help: what Typer, Rich and pydantic are made of


def opened(tmp_path: Path, *arguments: str, **outside: str) -> tuple[str, str]:
    """What the command prints, and the addresses that the browser of this desktop was given."""
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {asked}\n')
    browser.chmod(0o755)
    kept = {
        n: v for n, v in os.environ.items() if not n.startswith("GENRE_") and n not in {"DISPLAY", "WAYLAND_DISPLAY"}
    }
    variables = {**kept, "GENRE_HOME": str(tmp_path / "home"), "BROWSER": f"{browser} %s", **outside}
    done = subprocess.run([COMMAND, "open", *arguments], env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), asked.read_text().strip() if asked.exists() else ""


def test_a_page_is_named_and_opened_where_there_is_a_display(tmp_path: Path) -> None:
    assert opened(tmp_path) == ("http://127.0.0.1:8405", "")
    address = "https://models.example.org/#/experiments?workflowType=machine_learning"
    public = {"GENRE_MLFLOW_PUBLIC_URL": "https://models.example.org/", "DISPLAY": ":0"}
    assert opened(tmp_path, "mlflow", **public) == (address, address)


def test_a_report_is_found_by_its_window_and_the_newest_without_one(
    database: Database, store: ObjectStore, s3_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = {"window_size": 32, "window_minimum": 24, "database_url": SecretStr(database.url)}
    settings = s3_settings.model_copy(update=update)
    keep_ten(store, settings)
    monkeypatch.setattr(windows, "stack_settings", lambda *_: settings)
    none = CliRunner().invoke(app, ["report"])
    assert none.exit_code == 1
    assert "no window has a report yet" in " ".join(none.output.split())
    store.write_parquet(settings.serving_bucket, "reference/version=1/part.parquet", reference_frame())
    request_log.insert(database, log_rows(32, seed=4))
    window_store.cut(database, Rules.from_settings(settings), START + timedelta(minutes=10))
    (judged,) = evaluate.evaluate_waiting(database, store, settings)
    window_store.save_report(database, judged.window.id, f"drift/{judged.window.id}/report.json")
    said = CliRunner().invoke(app, ["report"]).stdout.splitlines()
    assert said[0].startswith(f"{judged.window.id}  ok: no drift in 32 items")
    assert said[1:] == [
        f"s3://{settings.serving_bucket}/drift/{judged.window.id}/report.json",
        f"{settings.gateway_link}/v1/windows/{judged.window.id}/report",
    ]
    assert CliRunner().invoke(app, ["report", judged.window.id]).stdout.splitlines() == said
    refused = CliRunner().invoke(app, ["report", "no such window"])
    assert refused.exit_code == 1
    assert "genre-assets windows names them" in " ".join(refused.output.split())


def test_the_help_imports_no_more_than_it_prints_with() -> None:
    heavy = ["numpy", "pandas", "dagster", "mlflow", "boto3", "sqlalchemy", "grpc", "fastapi", "aiohttp", "psutil"]
    program = (
        "import sys\nfrom genre_assets.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print(len(sys.modules), [name for name in sys.argv[1:] if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    count, _, loaded = done.stderr.strip().partition(" ")
    assert "doctor" in done.stdout
    assert loaded == "[]"
    assert int(count) < MOST_MODULES
