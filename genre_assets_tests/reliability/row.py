"""One row of the pages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of `docs/operations.md` and `docs/reliability.md`. `tests` are paths below the tests' folder, each `file::function`."""

    what: str
    then: str
    do: str
    tests: tuple[str, ...]
