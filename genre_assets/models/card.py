"""The model card: what a person should know before trusting a model. Markdown, the same in MLflow and in Dagster."""

from genre_assets.models.evaluate import Evaluation
from genre_assets.models.fit import Trained
from genre_assets.models.training import TrainingSet

METRICS = ("g_mean", "balanced_accuracy", "accuracy", "log_loss", "calibration_error")


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
by the G-mean of grouped cross-validation on the training rows; refitted on all of them; calibrated with temperature
{trained.temperature:.3f} on the out-of-fold answers. Parameters: `{dict(trained.search.params)}`. The ONNX graph agrees
with the estimator to {parity:.1e}.

**Figures**, of recordings (segments vote), with 95 % bootstrap intervals over groups. The G-mean is 0 when one genre is
never recognised; the other figures then say how near it is.

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
