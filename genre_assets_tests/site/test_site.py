"""The site: built strictly, nothing from elsewhere, its generated pages up to date, and read in a real browser from the disk."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from genre_assets_tests.browser.pages import chromium, page
from genre_assets_tests.live import ROOT
from genre_assets_tests.site.generated import DOCS, PAGES
from genre_assets_tests.site.llms import SOURCES, navigation


@pytest.mark.parametrize("made", PAGES)
def test_a_generated_page_is_as_the_code_says(made: str) -> None:
    assert (DOCS / made).read_text() == PAGES[made](), "run: python -m genre_assets_tests.site"


def test_nothing_is_generated_that_no_generator_makes() -> None:
    assert {str(path.relative_to(DOCS)) for path in (DOCS / "reference").iterdir()} | {"llms.txt"} == {*PAGES}


def test_the_navigation_has_every_page_once() -> None:
    named = [page for _, pages in navigation() for page in pages]
    there = {
        str(path.relative_to(DOCS))
        for path in DOCS.rglob("*.md")
        if not re.match(r"decisions/\d", str(path.relative_to(DOCS)))
    }
    assert sorted(named) == sorted({*there, *SOURCES}), "mkdocs.yml has the navigation"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning (a link that leads nowhere, a page in no menu) is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mkdocs")), "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """A link that a person may follow leads anywhere; what the browser loads by itself lies in the site."""
    loaded = re.compile(
        r"<(?:script|img|iframe|source|link(?![^>]*rel=\"?(?:canonical|next|prev)))[^>]*(?:src|href)=\"?([^\" >]+)"
    )
    for path in site.rglob("*.html"):
        addresses = [address for address in loaded.findall(path.read_text()) if not address.startswith("data:")]
        assert addresses
        assert [address for address in addresses if urlsplit(address).netloc] == [], path
    loaders = re.compile(rb"unpkg\.com|jsdelivr\.net|cdnjs|fonts\.googleapis|fonts\.gstatic")
    assert [path for path in site.rglob("*") if path.is_file() and loaders.search(path.read_bytes())] == []


def test_programs_that_read_the_site_find_its_pages(site: Path) -> None:
    linked = re.findall(r"^- \[.+?\]\((\S+)\): \S", (site / "llms.txt").read_text(), re.MULTILINE)
    assert len(linked) > 30
    assert [address for address in linked if not (site / address).is_file()] == []


@pytest.mark.browser
def test_the_site_is_read_from_the_disk_with_its_diagrams_and_its_search(site: Path) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with page(executable) as opened:
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "concepts.html"):
            opened.goto((site / name).as_uri())
            opened.wait_for_function("(document.querySelector('div.mermaid')?.clientHeight ?? 0) > 40", timeout=60_000)
        opened.get_by_role("textbox", name="Search").fill("fallback")
        opened.locator(".md-search-result__item").first.wait_for(timeout=60_000)
        assert {urlsplit(address).scheme for address in asked} <= {"file", "data", "blob"}
