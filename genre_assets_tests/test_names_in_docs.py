"""Every name in backticks, in docs and docstrings, is one that exists: in the code, among the files, or in a library."""

import ast
import pydoc
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = {".py", ".toml", ".yaml", ".yml", ".sql", ".sh", ".c", ".json", ".html", ".example", ".lock"}


@cache
def files() -> list[Path]:
    """What git has of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def docstrings(tree: ast.Module) -> list[ast.Constant]:
    """The docstrings of a module, its classes and functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.append(first.value)
    return [one for one in found if isinstance(one.value, str)]


@cache
def code() -> str:
    """All of the code, without its docstrings and comments: what they name must stand elsewhere."""
    texts = []
    for path in files():
        if path.suffix == ".py":
            tree = ast.parse(path.read_text())
            for docstring in docstrings(tree):
                docstring.value = ""
            texts.append(ast.unparse(tree))
        elif path.suffix in CODE or path.name.startswith(("Makefile", "Dockerfile")):
            texts.append(path.read_text(errors="replace"))
    return "\n".join(texts)


@cache
def words() -> frozenset[str]:
    """Every word of the code, and of the names of files and folders."""
    named = {part for path in files() for part in (*path.relative_to(ROOT).parts, path.stem)}
    return frozenset(re.findall(r"\w+", code())) | named


def unknown(text: str) -> list[str]:
    """The names in backticks that nothing has: words with an underscore or capitals inside, and names of files."""
    found = []
    for quoted in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.fullmatch(r"[\w./]+\.(py|md|yaml|toml|json|sql)", quoted):
            if quoted not in code() and not any(str(path).endswith(f"/{quoted}") for path in files()):
                found.append(quoted)
            continue
        names = re.findall(r"[A-Za-z_]\w*", quoted)
        composed = [name for name in names if "_" in name.strip("_") or re.search(r"[a-z][A-Z]", name)]
        if not {*composed} <= words() and pydoc.locate(re.split(r"[(\s]", quoted)[0]) is None:
            found.append(quoted)
    return found


@pytest.mark.parametrize(
    "path", [p for p in files() if p.suffix == ".md" and p.name != "CHANGELOG.md"], ids=lambda p: p.name
)
def test_the_docs_name_what_exists(path: Path) -> None:
    assert unknown(path.read_text()) == []


def test_docstrings_name_what_exists() -> None:
    python = [path for path in files() if path.suffix == ".py"]
    found = {
        path: [name for one in docstrings(ast.parse(path.read_text())) for name in unknown(str(one.value))]
        for path in python
    }
    assert {str(path.relative_to(ROOT)): names for path, names in found.items() if names} == {}


def test_a_name_that_is_no_more_is_found() -> None:
    gone, file = "genre_assets." + "moved_" + "away()", "no_such_" + "module.py"  # in parts, as this file is code too
    assert unknown(f"`{gone}`, `store.py`, `{file}`, `librosa.power_to_db`") == [gone, file]
