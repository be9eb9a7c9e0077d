"""The run of MLflow that stands for a whole Dagster run: its experiments are below it, and each links to the other.

dagster-mlflow opens it and its hook ends it; here is what the assets need of it, and what the hook does not see.
"""

from typing import Protocol

from genre_assets.models.mlflow.registry import ModelRegistry

FAILED = "FAILED"
FINISHED = "FINISHED"
KILLED = "KILLED"


class FluentRun(Protocol):
    """What is used of dagster-mlflow's resource, which has MLflow's functions as its methods."""

    def end_run(self, status: str = ...) -> None: ...  # noqa: D102  # MLflow's


class TrackedRun:
    """`run_id` is None in a Dagster run that is none of MLflow's: every method then does nothing."""

    def __init__(self, registry: ModelRegistry, run_id: str | None = None, fluent: FluentRun | None = None) -> None:
        self.registry = registry
        self.run_id = run_id
        self._fluent = fluent
        self.ended: str | None = None

    @property
    def link(self) -> str | None:
        """Address of the run in MLflow's UI."""
        return self.registry.run_link(self.run_id) if self.run_id else None

    def end_run(self, status: str = FINISHED) -> None:
        """End it; dagster-mlflow's hook calls this. The first failure stands, whatever other steps come to."""
        if self.run_id is None or self._fluent is None or self.ended == FAILED:
            return
        if self.ended is None:
            self._fluent.end_run(status=status)
        elif status == FAILED:  # a step failed after the last one in the order of the graph
            self.registry.end_run(self.run_id, failed=True)
        self.ended = status

    def show(self, name: str, run_id: str, version: int, *, reused: bool) -> None:
        """Link to an experiment of this Dagster run: one that was reused is below the run that it was made in."""
        if self.run_id is None:
            return
        address = self.registry.run_link(run_id)
        said = f"{name}: version {version}{', reused' if reused else ''}"
        line = f"- [{said}]({address})" if address else f"- {said}, run {run_id}"
        self.registry.annotate(self.run_id, line, {f"{'reused' if reused else 'trained'}.{name}": run_id})
