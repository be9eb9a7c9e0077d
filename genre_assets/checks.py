"""What an asset check finds: one record for every stage, and how Dagster is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg


@dataclass(frozen=True)
class CheckFinding:
    """Whether a property holds, in one sentence, with the facts behind it (plain JSON)."""

    passed: bool
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def result(self, *, warn: bool = False) -> "dg.AssetCheckResult":
        """As Dagster keeps it; what does not hold is an error, or a warning."""
        import dagster as dg  # the findings themselves are for notebooks, too

        severity = dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR
        return dg.AssetCheckResult(
            passed=self.passed,
            severity=severity,
            description=self.summary,
            metadata={name: as_shown(value) for name, value in self.facts.items()},
        )


def as_shown(value: Any) -> Any:
    """A value for Dagster's pages: what has parts is a table, or a line, and never nested JSON behind a link.

    A mapping is a table with a row for each entry, and for each entry of an entry that is a mapping of mappings; a list of
    mappings is a table, any other list is a line.
    """
    if isinstance(value, Mapping):
        return _table([row for name, one in value.items() for row in _rows(str(name), one)])
    if isinstance(value, list | tuple):
        if value and all(isinstance(one, Mapping) for one in value):
            return _table(value)
        return ", ".join(map(_text, value)) or "none"
    return value


def _rows(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        return [{"name": name, "value": value}]
    if value and all(isinstance(one, Mapping) for one in value.values()):
        return [{"name": f"{name} {key}", **one} for key, one in value.items()]
    return [{"name": name, **value}]


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    import dagster as dg

    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        return "none"
    cells = [{name: row.get(name) for name in columns} for row in rows]
    kinds = {name: _kind([row[name] for row in cells if row[name] is not None]) for name in columns}

    def cell(name: str, value: Any) -> Any:
        return _text(value) if kinds[name] == "string" and value is not None else value

    records = [dg.TableRecord({name: cell(name, value) for name, value in row.items()}) for row in cells]
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()])
    return dg.MetadataValue.table(records, schema=schema)


def _kind(values: Sequence[Any]) -> str:
    """Dagster's name for what the values of a column are."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds and kinds <= {int, float} else "string"


def _text(value: Any) -> str:
    """One line; a float with four digits, parts as `name value`."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value)
