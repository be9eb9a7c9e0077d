"""Automation of the platform itself, beside the stages' own sensors: runs whose process is gone.

Dagster's run monitoring cannot see the processes of its default launcher. A sensor can: it is evaluated in the code
server, which starts the runs' processes, so both see the same processes, in a container as well.
"""

import re
from collections.abc import Iterable, Mapping

import dagster as dg
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher

from genre_assets.run_processes import Worker, lost, resume_stopped

IN_PROGRESS = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
SECONDS = 10
_PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")


@dg.sensor(
    minimum_interval_seconds=SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run that is said to be in progress and has no process is ended as failed, so that its slot is free "
    "and its work is asked for again; a process that was stopped goes on.",
)
def runs_without_process(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Runs whose process was killed, by a power cut, with its code server, or alone."""
    instance = context.instance
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return dg.SkipReason("runs have containers of their own, which their launcher watches")
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(statuses=IN_PROGRESS))}
    workers = list(_workers(instance, runs))
    resumed = resume_stopped(workers)
    ended = []
    for worker in lost(workers):
        run = instance.get_run_by_id(worker.run_id)
        if run is None or run.is_finished:  # it ended between the two looks
            continue
        said = f"The process of this run ({worker.pid}) is gone, and it did not say how it ended."
        if run.status is dg.DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, said)
        else:
            instance.report_run_failed(run, said)
        ended.append(f"{run.job_name} {run.run_id[:8]}")
    parts = [f"{len(workers)} runs have a process"]
    parts += [f"ended: {', '.join(ended)}"] if ended else []
    parts += [f"resumed: {', '.join(w.run_id[:8] for w in resumed)}"] if resumed else []
    return dg.SkipReason("; ".join(parts))


def _workers(instance: dg.DagsterInstance, runs: Mapping[str, dg.DagsterRun]) -> Iterable[Worker]:
    """The processes that the runs say they have; a run that has none yet is left to the start timeout."""
    for run_id in runs:
        for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
            named = _PROCESS.search(event.message or event.user_message or "")
            if named:
                yield Worker(run_id, int(named.group(1)), event.timestamp)


SENSORS = [runs_without_process]
