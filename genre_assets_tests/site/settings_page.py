"""The settings: names, defaults and words of deploy/.env.example, with what each takes by settings.py."""

import re
from dataclasses import dataclass, field
from typing import Any

from genre_assets.settings import Settings
from genre_assets_tests.live import ROOT
from genre_assets_tests.site.markdown import code, page, table

_SECTION = re.compile(r"# --- (.+?) -+$")
_SETTING = re.compile(r"(?P<unset># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<default>.*)$")


@dataclass
class Group:
    """Settings that share a comment."""

    words: list[str] = field(default_factory=list)
    settings: list[tuple[str, str]] = field(default_factory=list)


def settings_page() -> str:
    """Each section of the file as a table."""
    return page(
        "Settings",
        "Environment variables win over `stack.env` in the state folder, which `genre-assets up` writes; that wins over the "
        "defaults. A bad value stops the start, with its name in the message. `genre-assets doctor` names variables that "
        "are no setting.",
        *(
            f"## {title}\n\n"
            + table(("Setting", "Default", "Takes", "What it does"), [_row(group) for group in groups])
            for title, groups in sections().items()
        ),
    )


def sections() -> dict[str, list[Group]]:
    """The file's sections, with their groups in order."""
    found: dict[str, list[Group]] = {}
    group = Group()
    for line in (ROOT / "deploy" / ".env.example").read_text().splitlines():
        if heading := _SECTION.match(line):
            found[heading[1]] = []
            group = Group()
        elif not found:
            continue  # the file's own heading
        elif setting := _SETTING.match(line):
            if not group.settings:
                found[list(found)[-1]].append(group)
            group.settings.append((setting["name"], "unset" if setting["unset"] else setting["default"]))
        elif line.startswith("#"):
            if group.settings:
                group = Group()
            group.words.append(line.lstrip("# "))
        elif not line and group.settings:
            group = Group()
    return found


def _row(group: Group) -> tuple[str, str, str, str]:
    properties: dict[str, Any] = Settings.model_json_schema()["properties"]
    takes = [_takes(properties.get(name.removeprefix("GENRE_").lower(), {})) for name, _ in group.settings]
    words = " ".join(group.words)
    words = re.sub(r"(?<!`)GENRE_[A-Z0-9_]+", r"`\g<0>`", words.replace("<", "&lt;"))
    said = re.sub(r"^SECRET[.:] ?", "**Secret.** ", words)
    same = takes[:1] if len(set(takes)) == 1 else takes
    return (
        "<br>".join(code(name) for name, _ in group.settings),
        "<br>".join(code(default) or "(empty)" for _, default in group.settings),
        "<br>".join(same),
        said[:1].upper() + said[1:],
    )


def _takes(schema: dict[str, Any]) -> str:
    """What a setting takes, in words."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    kind = kinds[0] if kinds else schema
    if "enum" in kind:
        return ", ".join(code(choice) for choice in kind["enum"])
    words = {"integer": "integer", "number": "number", "array": "list", "string": "text", "boolean": "true or false"}
    name = words.get(kind.get("type", "string"), "text")
    bounds = [
        f"{said} {kind[key]:g}"
        for key, said in (
            ("minimum", "at least"), ("exclusiveMinimum", "above"), ("maximum", "at most"), ("exclusiveMaximum", "below"),
        )
        if key in kind and abs(kind[key]) < 1e6
    ]  # fmt: skip
    return ", ".join([name, *bounds])
