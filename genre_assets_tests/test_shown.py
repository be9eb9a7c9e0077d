"""What has parts is a table on Dagster's pages, with columns of the right kind, or a line; never nested JSON."""

from typing import Any

import dagster as dg

from genre_assets.checks import CheckFinding, as_shown


def rows(value: Any) -> list[dict[str, Any]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [{name: one for name, one in record.data.items() if one is not None} for record in value.records]


def test_nested_facts_are_rows_with_the_columns_of_their_parts() -> None:
    shown = as_shown({
        "champion": {"version": 3, "g_mean": "0.67 [0.5, 0.8]"},
        "challengers": {4: {"version": 4, "g_mean": 0.123456}, 5: {"version": 5, "worst": None}},
        "margin": 0.0,
    })  # fmt: skip
    assert rows(shown) == [
        {"name": "champion", "version": 3, "g_mean": "0.67 [0.5, 0.8]"},
        {"name": "challengers 4", "version": 4, "g_mean": "0.1235"},
        {"name": "challengers 5", "version": 5},
        {"name": "margin", "value": 0.0},
    ]
    kinds = {column.name: column.type for column in shown.schema.columns}
    assert kinds == {"name": "string", "version": "int", "g_mean": "string", "worst": "string", "value": "float"}


def test_lists_are_tables_or_lines_and_what_has_no_parts_stays() -> None:
    assert rows(as_shown([{"at": True, "n": [1, 2.5], "of": {"a": 1}}])) == [{"at": True, "n": "[1, 2.5]", "of": "a 1"}]
    assert as_shown(["a", 1]) == "a, 1"
    assert (as_shown([]), as_shown({}), as_shown("x"), as_shown(0.5)) == ("none", "none", "x", 0.5)


def test_the_facts_of_a_check_are_shown_so() -> None:
    result = CheckFinding(True, "it holds", {"by genre": {"jazz": 3}, "files": 3}).result()
    assert rows(result.metadata["by genre"]) == [{"name": "jazz", "value": 3}]
    assert result.metadata["files"].value == 3
