"""Rules of the house that lint cannot say."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from genre_assets.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted((ROOT / "genre_assets").rglob("*.py"))
CODE = [*PACKAGE, *sorted((ROOT / "triton_models").rglob("*.py")), *sorted((ROOT / "scripts").rglob("*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CODE, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), f"{name(path)} has no docstring"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_modules_fit_in_a_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_no_pickle_is_written_or_loaded_anywhere() -> None:
    word = re.compile(r"\b(pickle|joblib|cloudpickle|dill)\b")
    found = [
        f"{name(path)}:{number}"
        for path in CODE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if word.search(line) and re.search(r"\bimport\b|\.(load|dump)s?\(", line)
    ]
    assert found == []


def test_a_code_location_imports_nothing_heavy() -> None:
    heavy = ["librosa", "xgboost", "sklearn", "mlflow", "evidently", "optuna", "pandas", "matplotlib", "onnxruntime"]
    program = "import sys, genre_assets.definitions; print([m for m in sys.argv[1:] if m in sys.modules])"
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "python"), "-c", program, *heavy], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def documented() -> dict[str, str]:
    """Names and defaults in deploy/.env.example; a leading `#` marks what is unset by default."""
    lines = (ROOT / "deploy" / ".env.example").read_text().splitlines()
    pairs: list[list[str]] = [
        line.lstrip("# ").split("=", 1) for line in lines if re.match(r"#? ?GENRE_[A-Z0-9_]+=", line)
    ]
    return dict(pairs)


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    expected = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    elsewhere = {"GENRE_POSTGRES_PASSWORD", "GENRE_GRAFANA_PASSWORD", "GENRE_STACK_HOME"}
    assert set(documented()) - elsewhere == expected


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "stack.env"
    file.write_text("\n".join(f"{k}={v}" for k, v in documented().items() if v and k != "GENRE_HOME"))
    assert load_settings(tmp_path).model_dump() == load_settings(tmp_path / "elsewhere").model_dump() | {
        "home": tmp_path
    }


def test_the_compose_file_gives_each_dagster_process_the_same_settings() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
    processes = [services[process]["environment"] for process in ("dagster-code", "dagster", "dagster-daemon")]
    assert processes[0] == processes[1] == processes[2]
    known = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    beside = {"GENRE_DAGSTER_CODE_HOST"}
    assert {variable for variable in processes[0] if variable.startswith("GENRE_")} - known <= beside
