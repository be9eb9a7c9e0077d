"""For `status`: do code, databases, environment and release fit together? Asked beside the services, and in their time.

What is not known in that time is said to be unknown: `genre-assets doctor` takes as long as it takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from genre_assets.settings import Settings
from genre_assets.stack.supervision.lights import Finding
from genre_assets.stack.supervision.service import Health

DATABASES, RELEASE = "versions of the databases", "versions of the release"


@dataclass
class Versions:
    """The questions of one `status`, and what came of them."""

    settings: Settings
    _told: dict[str, list[Finding]] = field(default_factory=dict)

    def questions(self) -> dict[str, Callable[[], Health]]:
        """One for each part."""
        return {
            DATABASES: lambda: self._ask(DATABASES, _in_databases),
            RELEASE: lambda: self._ask(RELEASE, _on_disk),
        }

    def findings(self, answers: Mapping[str, Health]) -> list[Finding]:
        """What does not fit, or is not known; `answers` say why a question has no answer."""
        found = []
        for part in (DATABASES, RELEASE):
            known = self._told.get(part)
            found += [_unknown(f"the {part}: {answers[part].why}")] if known is None else known
        return found

    def _ask(self, part: str, find: Callable[[Settings], list[Finding]]) -> Health:
        self._told[part] = find(self.settings)
        return Health(healthy=True)


def _in_databases(settings: Settings) -> list[Finding]:
    from genre_assets.stack import skew  # here and below: it reads what the other questions need not wait for

    versions = skew.table_versions_of(settings)
    silent = [name for name, version in versions.items() if version is None]
    found = [one.as_json() for name, version in versions.items() for one in skew.in_database(name, version)]
    return found + ([_unknown(f"the {DATABASES} {', '.join(silent)}: no answer")] if silent else [])


def _on_disk(settings: Settings) -> list[Finding]:
    from genre_assets.stack import skew

    return [one.as_json() for one in skew.on_disk(settings)]


def _unknown(seen: str) -> Finding:
    return {"subject": "versions", "level": "unknown", "seen": seen, "do": "genre-assets doctor looks without haste."}
