"""llms.txt: what the site has, for programs that read it (https://llmstxt.org)."""

from collections.abc import Iterator
from typing import Any

import yaml

from genre_assets_tests.live import ROOT
from genre_assets_tests.site.markdown import sentence

SOURCES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md", "examples.md": "examples/README.md"}  # fmt: skip


class _Loader(yaml.SafeLoader):
    """MkDocs' own tags name Python objects, which are not needed here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, _suffix, _node: None)


def navigation() -> list[tuple[str, list[str]]]:
    """Sections of the site, with their pages as paths below docs/."""
    config: dict[str, Any] = yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)
    return [(title, list(_pages(entries))) for section in config["nav"] for title, entries in section.items()]


def _pages(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        yield entry if isinstance(entry, str) else str(next(iter(entry.values())))


def llms() -> str:
    """Each page of the navigation, with its title and its first paragraph."""
    sections = [
        f"## {title}\n\n"
        + "".join(f"- [{name}]({_address(page)}): {about}\n" for page in pages for name, about in [_about(page)])
        for title, pages in navigation()
    ]
    about = (
        "> Audio classification in production: labelled audio in S3 becomes features, tuned models, a champion and a "
        "fallback, and a Triton ensemble that logs every answer, watches itself for drift, and changes to the fallback and "
        "back.\n"
    )
    return "\n".join(["# genre_assets\n", about, *sections])


def _address(page: str) -> str:
    return page.removesuffix("README.md") + "index.html" if page.endswith("README.md") else page.replace(".md", ".html")


def _about(page: str) -> tuple[str, str]:
    """Its heading, and the first sentence of prose below it. A generated page is made first."""
    from genre_assets_tests.site.generated import PAGES

    path = ROOT / SOURCES[page] if page in SOURCES else ROOT / "docs" / page
    text = PAGES[page]() if page in PAGES else path.read_text()
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    heading = next(part for part in paragraphs if part.startswith("# ")).splitlines()[0].removeprefix("# ")
    prose = next((p for p in paragraphs if p[0].isalpha()), "")
    return heading, sentence(prose).partition(". ")[0].rstrip(".") + "."
