"""For `status`: do code, databases, environment and release fit together? Asked beside the services, and in their time.

What is not known in that time is said to be unknown: `genre-assets doctor` takes as long as it takes.
"""

from collections.abc import Callable, Mapping

from genre_assets.settings import Settings
from genre_assets.stack.supervision.service import Health

Finding = dict[str, str]
"""`level` (warning, problem, unknown), `seen` and `do`."""
DATABASES, RELEASE = "versions of the databases", "versions of the release"


def questions(settings: Settings, told: dict[str, list[Finding]]) -> dict[str, Callable[[], Health]]:
    """A question for each part, whose findings come into `told`."""

    def asked(part: str, find: Callable[[], list[Finding]]) -> Callable[[], Health]:
        def question() -> Health:
            told[part] = find()
            return Health(healthy=True)

        return question

    return {
        DATABASES: asked(DATABASES, lambda: _in_databases(settings)),
        RELEASE: asked(RELEASE, lambda: _on_disk(settings)),
    }


def findings(told: Mapping[str, list[Finding]], answers: Mapping[str, Health]) -> list[Finding]:
    """What does not fit, or is not known; `answers` say why a part is not in `told`."""
    found = []
    for part in (DATABASES, RELEASE):
        found += told.get(part) or ([] if part in told else [_unknown(f"the {part}: {answers[part].why}")])
    return found


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
