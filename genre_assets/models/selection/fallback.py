"""May this model stand in for the champion? One rule for the choice, the release, the checks and a person's hand.

A fallback that fails with the champion is none: it is of another family, and no mixture with the champion's. One that
guesses is none either: on audio that was perturbed on its way it is surely better than chance. If no model is so, there
is no fallback, and the platform says so.
"""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from genre_assets.models.families.catalogue import FAMILIES
from genre_assets.models.mlflow.tracking import CUT_TAG
from genre_assets.models.tuning import vote

if TYPE_CHECKING:
    from genre_assets.models.mlflow.registry import RegisteredVersion
    from genre_assets.models.selection.robustness import Robustness

TAG = "perturbed"
"""Of a registered version: what it was worth on perturbed audio, as JSON."""
CHECK = "there_is_a_fallback"
SAME = ("feature_set", "feature_set_version", CUT_TAG)
"""Tags of registered versions that champion and fallback have in common."""


@dataclass(frozen=True)
class Heard:
    """Balanced accuracy on perturbed audio with its 95 % interval, and that of a model that always answers the same."""

    value: float
    low: float
    high: float
    chance: float

    @classmethod
    def of(cls, robustness: "Robustness") -> "Heard":
        """What was measured, rounded as it is kept."""
        found = robustness.evaluation.metrics["balanced_accuracy"]
        return cls(*(round(x, 4) for x in (found.value, found.low, found.high, robustness.evaluation.chance)))

    @classmethod
    def from_tags(cls, version: "RegisteredVersion") -> "Heard | None":
        """What is known of a registered version; None if it was never measured."""
        text = version.tags.get(TAG)
        return cls(**json.loads(text)) if text else None

    def to_tag(self) -> str:
        """The inverse of `from_tags`."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}], chance {self.chance:.3f}"


def fails_alike(family: str, champion: str) -> bool:
    """Whether a model is of the champion's family, or a mixture that contains it."""
    return family == champion or (family == vote.NAME and champion in FAMILIES)


def objection(family: str, champion: str, heard: Heard | None, floor: float) -> str | None:
    """Why a model of `family` may not be the fallback of a champion; None if it may."""
    if family == champion:
        return f"it is of the champion's family {champion}, and would fail alike"
    if fails_alike(family, champion):
        return f"it is a mixture that contains the champion's family {champion}, and would fail alike"
    if heard is None:
        return "it was never tried on perturbed audio; run the job retrain"
    if heard.low <= max(heard.chance, floor):
        least = f"GENRE_FALLBACK_FLOOR {floor:g}" if floor > heard.chance else "chance"
        return f"its balanced accuracy on perturbed audio is not surely above {least}: {heard}"
    return None


def objection_to(version: "RegisteredVersion", champion: "RegisteredVersion", floor: float) -> str | None:
    """The same of two registered versions, by what the registry knows of them; and whether one ensemble can serve both."""
    other = [name for name in SAME if version.tags.get(name) != champion.tags.get(name)]
    if other:
        return f"it has other {', '.join(other)} than the champion, and one ensemble cannot serve both"
    return objection(version.family, champion.family, Heard.from_tags(version), floor)


def evidence(families: dict[int, str], evaluated: "dict[int, Robustness]") -> dict[str, Any]:
    """What the choice was made by, for the audit table and the asset's page."""
    return {
        "under_perturbation": {
            str(v): {"family": families[v], **j.evaluation.in_short(), "chance": round(j.evaluation.chance, 4)}
            for v, j in evaluated.items()
        },
        "accuracy_under": {str(v): {n: round(a, 3) for n, a in j.accuracy.items()} for v, j in evaluated.items()},
    }
