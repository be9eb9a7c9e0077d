"""What MkDocs does here beside its own: pages that lie outside docs/, links to code, and nothing from elsewhere.

The README, the guide for contributors, the changelog and the examples' page are pages of the site, from where they lie. A link
to a file that is no page (code, a folder) becomes its path as text: the site works without the checkout and without a server.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
TAKEN_IN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
}
"""Files of the checkout, and where they are on the site."""
OUTSIDE = re.compile(rb"https://unpkg\.com/[^\"'`]+|https://fonts\.(?:googleapis|gstatic)\.com[^\"'`]*")
_LINK = re.compile(r"(?P<before>!?\[(?P<text>[^\]\[]*)\])\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Take in the pages from outside docs/."""
    for path, page in TAKEN_IN.items():
        files.append(File.generated(config, page, content=_placed(ROOT / path, page)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Links to what is on no page become text."""
    here = posixpath.dirname(page.file.src_uri)

    def rewritten(found: "re.Match[str]") -> str:
        target = posixpath.normpath(posixpath.join("docs", here, found["target"]))
        if target.startswith("docs/") and files.get_file_from_path(target.removeprefix("docs/")):
            return found[0]
        if target in TAKEN_IN:
            to = posixpath.relpath(TAKEN_IN[target], here or ".")
            return f"{found['before']}({to}{found['anchor'] or ''})"
        if (ROOT / target).exists() and not found[0].startswith("!"):
            shown = found["text"].strip("`").rstrip("/")
            return f"`{target}`" if shown in target else f"{found['text']} (`{target}`)"
        return found[0]

    return "".join(part if part.startswith("```") else _LINK.sub(rewritten, part) for part in _FENCE.split(markdown))


def on_post_page(output: str, page: Any, config: Any) -> str:  # noqa: ARG001
    """The page's own copy of Mermaid, where it has a diagram."""
    if 'class="mermaid"' not in output:
        return output
    script = posixpath.relpath("assets/mermaid.tiny.js", posixpath.dirname(page.file.dest_uri) or ".")
    return output.replace("</head>", f'<script src="{script}"></script></head>', 1)


def on_post_build(config: Any) -> None:
    """The theme's scripts would load from elsewhere what an old browser lacks, and Mermaid, which is here: they cannot."""
    for source in Path(config.site_dir, "assets").rglob("*.map"):
        source.unlink()
    for script in Path(config.site_dir, "assets", "javascripts").rglob("*.js"):
        text = script.read_bytes()
        if OUTSIDE.search(text):
            script.write_bytes(OUTSIDE.sub(b"", text))


def _placed(path: Path, page: str) -> str:
    """The text of a file of the checkout, with its links as of the page."""
    folder = posixpath.dirname(path.relative_to(ROOT).as_posix())

    def moved(found: "re.Match[str]") -> str:
        target = posixpath.normpath(posixpath.join(folder, found["target"]))
        if target in TAKEN_IN:
            to = TAKEN_IN[target]
        elif target.startswith("docs/"):
            to = target.removeprefix("docs/")
        else:
            to = f"../{target}"
        return f"{found['before']}({posixpath.relpath(to, posixpath.dirname(page) or '.')}{found['anchor'] or ''})"

    text = path.read_text()
    return "".join(part if part.startswith("```") else _LINK.sub(moved, part) for part in _FENCE.split(text))
