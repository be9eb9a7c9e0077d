"""Names and texts that strangers chose do nothing but show themselves."""

import pytest
from markdown_it import MarkdownIt

from genre_assets.text import in_markdown, visible

HOSTILE = [
    "rock/[song](http://evil.example/x).wav", "![p](http://evil.example/p.png)", "<img src=x onerror=alert(1)>",
    "https://evil.example", "a|b", "`code`", "*b* _i_", "a\\](x)", "a\nb\tc", "&lt;b&gt;",
]  # fmt: skip


def test_control_characters_and_lone_surrogates_are_written_out() -> None:
    assert visible("a\x1b[31m\0b\udce9\nc\u202e") == "a\\x1b[31m\\x00b\\udce9\nc\\u202e"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_a_table_is_one_cell_of_plain_text(name: str) -> None:
    table = f"| file | why |\n|---|---|\n| {in_markdown(name)} | x |"
    html = MarkdownIt("commonmark", {"html": True}).enable(["table"]).render(table)
    assert html.count("<td>") == 2
    cell = html.partition("<td>")[2].partition("</td>")[0]
    assert "<" not in cell, cell
    assert "://" not in in_markdown(name), "nothing for an autolinker"
