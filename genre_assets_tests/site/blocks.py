"""The code blocks of the pages. The language after the fence says what a block is, and so what a test does with it."""

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from genre_assets_tests.live import ROOT

WHAT_IS_DONE = {
    "text": "output, or a picture: nothing",
    "console": "typed by people: each command is read by its own parser (test_blocks.py); the recipes' are run",
    "bash": "run by bash before a real gateway and a real Triton (gateway/test_clients_of_docs.py)",
    "python": "run before the same",
    "javascript": "run by Node before the same",
    "go": "run by Go before the same, where there is one",
    "diff": "applied to a copy of the project (recipes/)",
    "yaml": "read",
    "json": "read",
    "csv": "read",
    "ini": "every name is a setting",
    "mermaid": "drawn in a browser (test_site.py)",
}


@dataclass(frozen=True)
class Block:
    """A block of a page: where it begins, what is after its fence (None: it is indented), and what is in it."""

    page: str
    line: int
    language: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Everything that people read."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def blocks(*languages: str) -> list[Block]:
    """All blocks, or those in some languages, in the order of the pages."""
    found = []
    for path in pages():
        for token in MarkdownIt("commonmark").parse(path.read_text()):
            if token.type in {"fence", "code_block"}:
                line = (token.map or [0])[0] + 1
                language = token.info.strip() if token.type == "fence" else None
                found.append(Block(str(path.relative_to(ROOT)), line, language, token.content))
    return [block for block in found if not languages or block.language in languages]
