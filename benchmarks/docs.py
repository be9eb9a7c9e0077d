"""`python -m benchmarks.docs`: write the figures that docs/*.md and README.md quote anew from `benchmarks/results.json`.

And those of decisions that have a template.

A figure stands in a page between `<!-- figures` with its template and `<!-- end -->`. The template is the text with
`{name of the figure; form}` in the place of each figure (forms: `figures.shown`); write or change the template, run
the command, and the text below it is made:

    <!-- figures
    One clip takes {CPU a clip of 30 s, gtzan37; .0f} ms.
    -->
    One clip takes 28 ms.
    <!-- end -->

A test finds a page that is not as it is written here, and a figure that stands outside.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import Result

ROOT = Path(__file__).resolve().parents[1]
_BEGIN = "<!-- figures\n"
_TEMPLATE = re.compile(r"(<!-- figures\n(.*?\n)-->\n).*?(<!-- end -->)", re.DOTALL)
_BLOCK = re.compile(r"<!-- (?:figures\n|generated: \w+ -->).*?<!-- end -->", re.DOTALL)
_NO_PROSE = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)", re.DOTALL)
_MEASURED = re.compile(r"^## Measured\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_UNITS = r"(?:ms|s|min|h|hours|minutes|seconds|days|x|times|%|KB|MB|GB|TB|MiB|GiB|points?)"
_NUMBER = r"(?<![\w.:/-])\d[\d,]*(?:\.\d+)?(?:e-\d+)?"
_LIKE_A_FIGURE = re.compile(rf"{_NUMBER} ?{_UNITS}(?!\w)|(?<![\w.:/-])\d+\.\d+(?!\w|[.-]\d)")
_FIGURE = re.compile(r"\{([^{}]*)\}")


def pages() -> list[Path]:
    """Where no figure stands but by a template. Decisions are dated records of what was known then, and are not among them."""
    return [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def with_templates() -> list[Path]:
    """Those, and the decisions whose figures are measured again and again."""
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    return [*pages(), *(page for page in decisions if _BEGIN in page.read_text())]


def written(text: str, results: Mapping[str, Result]) -> str:
    """A page with its figures as they are on record.

    Raises `KeyError` for a figure that is not there, `ValueError` for a template that cannot be read.
    """
    if len(_TEMPLATE.findall(text)) != text.count(_BEGIN):
        raise ValueError("a template has no end, or none of its own")

    def figure(found: re.Match[str]) -> str:
        name, separator, form = found[1].partition("; ")
        if not separator:
            raise ValueError(f"{found[0]} is not a figure and its form")
        return figures.shown(results, name, form)

    return _TEMPLATE.sub(lambda part: part[1] + _FIGURE.sub(figure, part[2]) + part[3], text)


def outside(text: str) -> list[str]:
    """What reads like a measured figure and stands in no generated part.

    That is a number with a unit, a decimal, and under the heading "Measured" every number.
    """
    prose = _NO_PROSE.sub("", _BLOCK.sub("", text))
    found = [number for section in _MEASURED.findall(prose) for number in re.findall(_NUMBER, section)]
    return found + _LIKE_A_FIGURE.findall(_MEASURED.sub("", prose))


def main() -> None:
    """All pages."""
    results = {result["name"]: result for result in figures.read()}
    for page in with_templates():
        text = page.read_text()
        if (new := written(text, results)) != text:
            page.write_text(new)


if __name__ == "__main__":
    main()
