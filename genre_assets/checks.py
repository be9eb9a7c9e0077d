"""What an asset check finds: one record for every stage, and how Dagster is told."""

from collections.abc import Mapping
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
            passed=self.passed, severity=severity, description=self.summary, metadata=dict(self.facts)
        )
