"""Rules of the house that lint cannot say."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.containers.secrets_file import MADE

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = sorted((ROOT / "genre_assets").rglob("*.py"))
CODE = [*PACKAGE, *sorted((ROOT / "triton_models").rglob("*.py")), *sorted((ROOT / "scripts").rglob("*.py"))]
TESTS = sorted((ROOT / "genre_assets_tests").rglob("*.py"))

ROOTS = (
    "inventory/", "quarantine/", "features/", "checkpoints/", "training_set/", "environments/", "releases/",
    "reference/version", "drift/", "predictions/", "labels/", "decisions/", "dropped/",
)  # fmt: skip  # of the buckets


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CODE, ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), f"{name(path)} has no docstring"


@pytest.mark.parametrize("path", [*CODE, *TESTS], ids=name)
def test_modules_fit_in_a_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_no_pickle_is_written_or_loaded_anywhere() -> None:
    word = re.compile(r"\b(pickle|joblib|cloudpickle|dill)\b")
    found = [
        f"{name(path)}:{number}"
        for path in CODE
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if word.search(line) and re.search(r"\bimport\b|\.(load|dump)s?\(", line)
    ]
    assert found == []


def test_the_modules_that_know_dagster_are_those_that_the_readme_names() -> None:
    """Lint holds all others to it."""
    ignores = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["per-file-ignores"]
    allowed = {Path(p).name for p, rules in ignores.items() if "TID251" in rules and p.startswith("genre_assets/")}
    (said,) = re.findall(r"Only ([^;]*?) know Dagster", (ROOT / "README.md").read_text())
    assert set(re.findall(r"`(\w+\.py)`", said)) == allowed
    importing = {
        path.name for path in PACKAGE if re.search(r"^(import|from) dagster\b", path.read_text(), re.MULTILINE)
    }
    assert importing == allowed


def test_a_code_location_imports_nothing_heavy() -> None:
    heavy = ["librosa", "xgboost", "sklearn", "mlflow", "evidently", "optuna", "pandas", "matplotlib", "onnxruntime"]
    heavy += ["boto3", "dagster_aws", "dagster_mlflow"]
    program = "import sys, genre_assets.definitions; print([m for m in sys.argv[1:] if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_what_helm_launches_runs_with_is_in_the_lock() -> None:
    values = yaml.safe_load((ROOT / "deploy" / "helm" / "dagster-values.yaml").read_text())
    assert values["runLauncher"]["type"] == "K8sRunLauncher"  # of dagster-k8s
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(requirement.startswith("dagster-k8s") for requirement in extras["k8s"])
    assert "dagster-k8s" in {p["name"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}


def documented() -> dict[str, str]:
    """Names and defaults in deploy/.env.example; a leading `#` marks what is unset by default."""
    lines = (ROOT / "deploy" / ".env.example").read_text().splitlines()
    pairs: list[list[str]] = [
        line.lstrip("# ").split("=", 1) for line in lines if re.match(r"#? ?GENRE_[A-Z0-9_]+=", line)
    ]
    return dict(pairs)


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    expected = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    elsewhere = {
        *MADE,
        "GENRE_DATA_INTERNAL",
        "GENRE_CLIENT_FOLDER",
        "GENRE_PROXY_HOST",
        "GENRE_PROXY_ADDRESS",
        "GENRE_CONTAINER_CPUS",
    } - expected
    assert set(documented()) - elsewhere == expected
    assert elsewhere < set(documented())


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "stack.env"
    file.write_text("\n".join(f"{k}={v}" for k, v in documented().items() if v and k != "GENRE_HOME"))
    assert load_settings(tmp_path).model_dump() == load_settings(tmp_path / "elsewhere").model_dump() | {
        "home": tmp_path
    }


def test_the_index_of_decisions_names_each_page_by_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    rows = re.findall(
        r"^\| \[(\d+)\]\((\S+)\) \| (.+?) \| \d{4}-\d\d-\d\d \| \S.* \|$",
        (folder / "README.md").read_text(),
        re.MULTILINE,
    )
    titles = {page.name: page.read_text().splitlines()[0] for page in folder.glob("[0-9]*.md")}
    assert {file: f"# {number}. {title}" for number, file, title in rows} == titles


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.name != "keys.py"], ids=name)
def test_the_text_of_a_key_is_written_in_one_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if text.startswith(ROOTS)] == []
