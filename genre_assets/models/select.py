"""Which model becomes champion, and which the fallback. Pure functions over answers to the same recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genre_assets.models.evaluate import Evaluation, Recordings, paired_difference


@dataclass(frozen=True)
class Candidate:
    """A model at the gate, with its answers for the held-out recordings."""

    version: int
    family: str
    songs: Recordings = field(repr=False)
    evaluation: Evaluation = field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """What to do, and the figures that say why."""

    version: int
    changed: bool
    reason: str
    evidence: Mapping[str, Any]


def first_champion(cross_validation: Mapping[int, float], reason: str = "the first champion") -> Verdict:
    """Without a champion to beat: the version with the best G-mean in cross-validation on its training rows.

    Held-out rows choose nothing here: on the first day there are few, and they are the only honest estimate.
    """
    best = max(cross_validation, key=lambda version: (cross_validation[version], -version))
    evidence = {"cross_validation_g_mean": {str(v): round(g, 4) for v, g in cross_validation.items()}}
    return Verdict(best, True, f"{reason}: the best G-mean in cross-validation", evidence)


def challenge(
    champion: Candidate,
    challengers: Sequence[Candidate],
    n_labels: int,
    *,
    margin: float,
    recall_floor: float,
    seed: int = 0,
) -> Verdict:
    """The gate: a challenger wins if it is surely better on held-out recordings and forgets no genre.

    Surely better: the lower end of the paired bootstrap interval of the G-mean difference is above `margin`. Forgets
    none: no class recall is below `recall_floor`. Of several that pass, the one with the largest lower end wins.
    """
    figures: dict[str, Any] = {}
    passed: list[tuple[float, Candidate]] = []
    for one in challengers:
        difference = paired_difference(one.songs, champion.songs, n_labels, seed=seed)
        worst_genre, worst = min(one.evaluation.recalls.items(), key=lambda item: item[1].value)
        figures[str(one.version)] = {
            "family": one.family,
            "g_mean": str(one.evaluation.g_mean),
            "difference": str(difference),
            "worst_recall": f"{worst_genre} {worst.value:.3f}",
        }
        if difference.low > margin and worst.value >= recall_floor:
            passed.append((difference.low, one))
    evidence = {
        "champion": {"version": champion.version, "g_mean": str(champion.evaluation.g_mean)},
        "challengers": figures,
        "margin": margin,
        "recall_floor": recall_floor,
        "recordings": champion.evaluation.recordings,
    }
    if not passed:
        reason = f"version {champion.version} stays: no challenger is surely better on {champion.evaluation.recordings}"
        return Verdict(champion.version, False, f"{reason} held-out recordings", evidence)
    low, winner = max(passed, key=lambda item: item[0])
    reason = f"version {winner.version} beats {champion.version} by at least {low:.3f} in G-mean"
    return Verdict(winner.version, True, reason, evidence)


def choose_fallback(champion_family: str, robustness: Mapping[int, float], families: Mapping[int, str]) -> int | None:
    """The most robust version of another family than the champion's; None when there is no other family."""
    others = [version for version, family in families.items() if family != champion_family and version in robustness]
    return max(others, key=lambda v: (robustness[v], -v)) if others else None
