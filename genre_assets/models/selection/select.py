"""Which model becomes champion, and which the fallback. Pure functions over answers to the same recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genre_assets.models.tuning.evaluate import Evaluation, Recordings, paired_difference


@dataclass(frozen=True)
class Candidate:
    """A model at the gate, with its answers for the held-out recordings."""

    version: int
    family: str
    songs: Recordings = field(repr=False)
    evaluation: Evaluation = field(repr=False)


@dataclass(frozen=True)
class ChampionChoice:
    """What to do, and the figures that say why."""

    version: int
    changed: bool
    reason: str
    evidence: Mapping[str, Any]


def first_champion(
    cross_validation: Mapping[int, Mapping[str, float]], reason: str = "the first champion", present: int | None = None
) -> ChampionChoice:
    """Without a champion to beat: the version with the best objective in cross-validation on its training rows.

    Equal objectives are told apart by the balanced accuracy, then the older version wins. Held-out rows choose nothing
    here: on the first day there are few, and they are the only honest estimate.
    """

    def rank(version: int) -> tuple[float, float, int]:
        figures = cross_validation[version]
        return figures.get("objective", 0.0), figures.get("balanced_accuracy", 0.0), -version

    best = max(cross_validation, key=rank)
    evidence = {
        "cross_validation": {
            str(version): {name: round(value, 4) for name, value in figures.items()}
            for version, figures in cross_validation.items()
        }
    }
    return ChampionChoice(best, best != present, f"{reason}: the best objective in cross-validation", evidence)


def challenge(
    champion: Candidate,
    challengers: Sequence[Candidate],
    n_labels: int,
    *,
    margin: float,
    recall_floor: float,
    seed: int = 0,
) -> ChampionChoice:
    """The gate: a challenger wins if it is surely better on held-out recordings and forgets no genre.

    Surely better: the lower end of the paired bootstrap interval of the objective's difference is above `margin`. Forgets
    none: no class recall is below `recall_floor`. Of several that pass, the one with the largest lower end wins.
    """
    figures: dict[str, Any] = {}
    passed: list[tuple[float, Candidate]] = []
    for one in challengers:
        difference = paired_difference(one.songs, champion.songs, n_labels, seed=seed)
        worst_genre, worst = min(one.evaluation.recalls.items(), key=lambda item: item[1].value)
        figures[str(one.version)] = {
            "family": one.family,
            **one.evaluation.in_short(),
            "difference of the objective": str(difference),
            "worst_recall": f"{worst_genre} {worst.value:.3f}",
        }
        if difference.low > margin and worst.value >= recall_floor:
            passed.append((difference.low, one))
    evidence = {
        "champion": {"version": champion.version, **champion.evaluation.in_short()},
        "challengers": figures,
        "margin": margin,
        "recall_floor": recall_floor,
        "recordings": champion.evaluation.recordings,
    }
    if not passed:
        reason = f"version {champion.version} stays: no challenger is surely better on {champion.evaluation.recordings}"
        return ChampionChoice(champion.version, False, f"{reason} held-out recordings", evidence)
    low, winner = max(passed, key=lambda item: item[0])
    reason = f"version {winner.version} beats {champion.version} by at least {low:.3f} in the objective"
    return ChampionChoice(winner.version, True, reason, evidence)


@dataclass(frozen=True)
class FallbackChoice:
    """What becomes of the fallback; `version` is None when no model may be it."""

    version: int | None
    changed: bool
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def choose_fallback(objections: Mapping[int, str | None], robustness: Mapping[int, float]) -> int | None:
    """The most robust version to which there is no objection; None when there is none. Ties go to the older."""
    sound = [version for version, objection in objections.items() if objection is None]
    return max(sound, key=lambda v: (robustness[v], -v)) if sound else None
