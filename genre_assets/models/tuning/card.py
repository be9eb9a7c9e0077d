"""The model card: what a person should know before trusting a model. Markdown, the same in MLflow and in Dagster."""

from collections.abc import Mapping

from genre_assets.models.data.training import TrainingSet
from genre_assets.models.tuning.evaluate import Evaluation
from genre_assets.models.tuning.fit import Trained

METRICS = ("objective", "g_mean", "balanced_accuracy", "accuracy", "log_loss", "calibration_error")


def model_card(trained: Trained, training: TrainingSet, *, parity: float) -> str:
    """The card of one trained model."""
    data = training.manifest
    splits = ", ".join(f"{name} {rows}" for name, rows in data.splits.items())
    return f"""# {trained.family} on {data.feature_set} (data {data.version})

**Intended use.** Tells the genre of a music recording among: {", ".join(data.genres)}. It knows no other genre and
always names one of these. Not for decisions about people.

**Data.** {data.rows} segments of {data.recordings} recordings in {data.groups} groups (artist or album where known,
else the recording); rows by split: {splits}. No group is in two splits. Feature set {data.feature_set}
{data.feature_set_version}, {len(data.columns)} columns.

**Training.** {len(trained.search.trials)} trials ({trained.search.taken_up} of them from an earlier attempt), chosen
by the objective in grouped cross-validation on the training rows; refitted on all of them; calibrated with temperature
{trained.temperature:.3f} on the out-of-fold answers. Parameters: `{dict(trained.search.params)}`. The ONNX graph agrees
with the estimator to {parity:.1e}.

**Figures**, of recordings (segments vote), with 95 % bootstrap intervals over groups. The G-mean (geometric mean
of the genres' recalls) is 0 when one genre is never recognised, which few recordings make likely; the objective is the
same mean with one guessed recording added to each genre, and what models are compared by.

{metrics_table(trained.evaluations)}

**Recall by genre.**

{recall_table(trained.evaluations)}

**Limits.** The cross-validation figure is the best of its trials, so it is a little flattering; validation takes part in
the choice of the champion; test chooses nothing. Intervals over few recordings are wide: read them before the values.
"""


def metrics_table(evaluations: dict[str, Evaluation]) -> str:
    """One line a part, one column a metric."""
    lines = [f"| part | recordings | {' | '.join(METRICS)} |", "|" + "---|" * (len(METRICS) + 2)]
    for part, evaluation in evaluations.items():
        figures = " | ".join(str(evaluation.metrics[name]) for name in METRICS)
        lines.append(f"| {part} | {evaluation.recordings} | {figures} |")
    return "\n".join(lines)


def recall_table(evaluations: dict[str, Evaluation]) -> str:
    """One line a genre, one column a part."""
    genres = sorted({genre for e in evaluations.values() for genre in e.recalls})
    lines = [f"| genre | {' | '.join(evaluations)} |", "|" + "---|" * (len(evaluations) + 1)]
    for genre in genres:
        cells = [str(e.recalls[genre]) if genre in e.recalls else "" for e in evaluations.values()]
        lines.append(f"| {genre} | {' | '.join(cells)} |")
    return "\n".join(lines)


def headline(metrics: Mapping[str, float]) -> dict[str, str]:
    """The figure that matters most of each part that was measured, with its interval, by its name."""
    name = "balanced_accuracy"
    found = {}
    for part in ("cross_validation", "validation", "test"):
        if f"{part}_{name}" in metrics:
            value, low, high = (metrics[f"{part}_{name}{end}"] for end in ("", "_low", "_high"))
            found[f"{part}_{name}"] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    return found


def in_one_line(metrics: Mapping[str, float], part: str) -> str:
    """The figures of a registered version that matter most, with their intervals."""
    said = []
    for name, shown in (("balanced_accuracy", "balanced accuracy"), ("g_mean", "G-mean"), ("objective", "objective")):
        value, low, high = (metrics[f"{part}_{name}{end}"] for end in ("", "_low", "_high"))
        said.append(f"{shown} {value:.2f} [{low:.2f}, {high:.2f}]")
    return f"{', '.join(said)} in {part.replace('_', '-')}"
