"""The public Python names, from their docstrings."""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator

from numpydoc.docscrape import NumpyDocString

import genre_assets
from genre_assets_tests.site.markdown import cell, page, table


def python_page() -> str:
    """Each name with its signature, parameters, what it gives, and its public methods."""
    homes = {name: home for home, names in genre_assets._HOMES.items() for name in names}
    return page(
        "Python",
        "What `import genre_assets` offers. These names, and what they take and give, change only with a new minor version. "
        "Everything else may move.",
        *(part for name in sorted(genre_assets.__all__) for part in _described(name, homes[name])),
    )


def _described(name: str, home: str) -> Iterator[str]:
    tree = ast.parse(inspect.getsource(importlib.import_module(home)))
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    (node,) = [one for one in tree.body if isinstance(one, kinds) and one.name == name]
    yield f"## `{name}`\n\n{_signature(node)}{_docs(ast.get_docstring(node) or '')}"
    if isinstance(node, ast.ClassDef):
        for each in _methods(name, node):
            said = ast.get_docstring(each) or ""
            yield f"### `{name}.{each.name}`\n\n{_signature(each)}{_docs(said)}"


def _methods(name: str, node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Its own public methods, and those that it has from bases of ours."""
    seen = set()
    for base in getattr(genre_assets, name).__mro__:
        if not base.__module__.startswith("genre_assets"):
            continue
        found = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(found, ast.ClassDef)
        for each in found.body:
            if (
                isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                and each.name not in seen
                and not each.name.startswith("_")
            ):
                seen.add(each.name)
                yield each


def _signature(node: ast.AST) -> str:
    """As a call; of a class, its `__init__`, and nothing where a dataclass has none of its own."""
    if isinstance(node, ast.ClassDef):
        made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        return _call(node.name, made[0]) if made else ""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return _call(node.name, node)


def _call(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    if any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list):
        return ""
    taken = [one for one in ast.unparse(node.args).split(", ") if one not in {"self", "cls"}]
    gives = f" -> {ast.unparse(node.returns)}" if node.returns and name == node.name else ""
    waits = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"```text\n{waits}{name}({', '.join(taken)}){gives}\n```\n\n"


def _docs(docstring: str) -> str:
    said = NumpyDocString(textwrap.dedent(docstring))
    text = ["\n".join(said["Summary"]), "\n".join(said["Extended Summary"])]
    for section in ("Parameters", "Attributes", "Returns", "Yields", "Raises"):
        rows = [(f"`{one.name}`" if one.name else "", cell(one.type), " ".join(one.desc)) for one in said[section]]
        if rows:
            text.append(f"**{section}**\n\n" + table(("Name", "Type", "What it is"), rows).rstrip())
    if said["Notes"]:
        text.append("\n".join(said["Notes"]))
    return "\n\n".join(part for part in text if part) + "\n"
