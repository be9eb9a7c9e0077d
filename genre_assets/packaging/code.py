"""Which of our own modules a Triton model needs: the closure of its imports, found by reading the source.

They are shipped beside `model.py`, so a changed line costs a reload of that model and no new environment; and a change
elsewhere in the platform changes no release at all.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from genre_assets.errors import PermanentFailure
from genre_assets.shipped.files import PROJECT_ROOT

PACKAGE = "genre_assets"
ROOT = PROJECT_ROOT
SOURCES = ROOT / "triton_models"


def model_files(name: str) -> dict[str, bytes]:
    """`model.py` of a Triton model, every module of ours that it needs, and their data, by place in a version folder."""
    source = SOURCES / name / "model.py"
    files = {"model.py": source.read_bytes()}
    for module in closure(source):
        path = _file(module)
        # With a module goes the data of its name (`kernel.c` of `kernel.py`).
        for part in (path, *(p for p in sorted(path.parent.glob(f"{path.stem}.*")) if p.suffix not in {".py", ".pyc"})):
            files[part.relative_to(ROOT).as_posix()] = part.read_bytes()
    return files


def closure(source: Path) -> list[str]:
    """Names of our modules that `source` imports, directly or not, with the packages that hold them."""
    found: set[str] = set()
    waiting = list(_imports(source))
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        parent = module.rpartition(".")[0]
        waiting += [parent] if parent else []
        waiting += _imports(_file(module))
    return sorted(found)


def _imports(source: Path) -> tuple[str, ...]:
    """Our modules that one file imports anywhere, but for type checking only."""
    return _imports_of(source, source.read_text())


@cache  # the models share most of their modules, and the text says whether one has changed
def _imports_of(source: Path, text: str) -> tuple[str, ...]:
    return tuple(_found_in(ast.parse(text, str(source))))


def _found_in(tree: ast.Module) -> Iterator[str]:
    for node in _walk_runtime(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            yield node.module
            for alias in node.names:
                if _exists(f"{node.module}.{alias.name}"):
                    yield f"{node.module}.{alias.name}"


def _walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        only_types = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if not only_types:
            yield from _walk_runtime(child)


def _ours(module: str) -> bool:
    return module == PACKAGE or module.startswith(f"{PACKAGE}.")


def _exists(module: str) -> bool:
    base = ROOT.joinpath(*module.split("."))
    return base.with_suffix(".py").exists() or (base / "__init__.py").exists()


def _file(module: str) -> Path:
    base = ROOT.joinpath(*module.split("."))
    if (base / "__init__.py").exists():
        return base / "__init__.py"
    if not base.with_suffix(".py").exists():
        raise PermanentFailure(f"{module} is imported by a Triton model but is no module of this source tree")
    return base.with_suffix(".py")
