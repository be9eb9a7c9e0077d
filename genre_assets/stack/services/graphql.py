"""What the platform asks of Dagster's GraphQL: are the definitions loaded, do the daemons beat, runs and checks.

The same interface that the UI uses, so that the command line and the UI launch the same named jobs.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.stack.supervision.service import http_health

LOCATION = "genre_assets"
REPOSITORY = "__repository__"
DO_NOT_LOAD = "the definitions do not load"
# In the error of a location whose code server is away, not wrong.
_UNREACHABLE = ("DagsterUserCodeUnreachableError", "Could not reach user code server", "StatusCode.UNAVAILABLE")
FINISHED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


def query(url: str, text: str, variables: dict[str, Any] | None = None, timeout: float = 60.0) -> dict[str, Any]:
    """The `data` of the answer. Raises `TransientFailure` if the webserver is away, `PermanentFailure` on an error."""
    body = json.dumps({"query": text, "variables": variables or {}}).encode()
    request = Request(f"{url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310  # our own setting
    content = _answer(request, timeout, tries=1 if text.startswith("mutation") else 3)
    if content.get("errors"):
        raise PermanentFailure(f"Dagster refused the query: {content['errors'][0].get('message')}")
    data: dict[str, Any] = content["data"]
    return data


def _answer(request: Request, timeout: float, tries: int) -> Any:
    """The parsed answer; a question is asked again, since the first one after a database restart is answered with 500."""
    try:
        with urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return json.loads(answer.read())
    except (URLError, OSError, TimeoutError) as error:
        if isinstance(error, HTTPError) and tries > 1:
            time.sleep(1)
            return _answer(request, timeout, tries - 1)
        where = request.full_url.removesuffix("/graphql")
        raise TransientFailure(f"Dagster at {where} does not answer ({error}); try: genre-assets status") from error


def code_location_problem(url: str) -> str | None:
    """Why the definitions are not loaded, or None."""
    text = """{workspaceOrError {... on Workspace {locationEntries {name loadStatus
        locationOrLoadError {__typename ... on PythonError {message}}}}}}"""
    try:
        entries = query(url, text, timeout=10)["workspaceOrError"]["locationEntries"]
    except (TransientFailure, PermanentFailure) as error:
        return str(error)
    for entry in entries:
        loaded = entry["locationOrLoadError"]
        if entry["loadStatus"] != "LOADED" or loaded is None:
            return "the definitions are loading"
        if loaded["__typename"] == "PythonError":
            said = loaded["message"].strip()
            if any(word in said for word in _UNREACHABLE):
                return f"the code server does not answer: {said[:300]}"
            return f"{DO_NOT_LOAD}: {said}"
    return None if entries else "the workspace is empty"


def wait_for_definitions(url: str, since: float, timeout: float = 30.0) -> None:
    """Until the webserver has taken in the definitions after `since`, a time of the clock; at the timeout, and where it is away, no more."""
    text = "{workspaceOrError {... on Workspace {locationEntries {updatedTimestamp}}}}"
    end = time.monotonic() + timeout
    with suppress(TransientFailure, PermanentFailure):
        while time.monotonic() < end:
            entries = query(url, text, timeout=10)["workspaceOrError"]["locationEntries"]
            if all(entry["updatedTimestamp"] >= since for entry in entries):
                return
            time.sleep(0.1)


def daemon_problem(url: str) -> str | None:
    """Which daemon does not beat, or None."""
    text = "{instance {daemonHealth {allDaemonStatuses {daemonType healthy required}}}}"
    try:
        statuses = query(url, text, timeout=10)["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (TransientFailure, PermanentFailure) as error:
        return str(error)
    away = [status["daemonType"] for status in statuses if status["required"] and not status["healthy"]]
    return f"no heartbeat yet from: {', '.join(away)}" if away else None


def launch_problem(url: str, timeout: float = 6.0) -> str | None:
    """Why no run could be launched, or None: asks for the plan of one, which the code location makes.

    A webserver that is away, and definitions that do not load, are no fault of the code server: None. So is one that
    hangs: `timeout` is well below the light's deadline, or the code server would be restarted, and its runs with it.
    """
    text = """query($job: PipelineSelector!) {executionPlanOrError(pipeline: $job, mode: "default") {
        __typename ... on PythonError {message}}}"""
    try:
        plan = query(url, text, {"job": _selector("promote")}, timeout=timeout)["executionPlanOrError"]
    except TransientFailure:
        return "the plan of a run is not there in time" if http_health(f"{url}/server_info", 2.0).healthy else None
    except PermanentFailure as error:
        return str(error)
    if plan["__typename"] == "PythonError":
        return f"no run could be launched: {plan['message'].strip()[:300]}"
    return None


def sensor_problem(url: str, now: float | None = None) -> str | None:
    """Which sensors that are on have not ticked within three of their intervals (and a minute), or None."""
    text = """query($r: RepositorySelector!) {sensorsOrError(repositorySelector: $r) {... on Sensors {results {
        name minIntervalSeconds sensorState {status ticks(limit: 1) {timestamp}}}}}}"""
    where = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}
    try:
        sensors = query(url, text, {"r": where}, timeout=10)["sensorsOrError"].get("results", [])
    except (TransientFailure, PermanentFailure) as error:
        return str(error)
    now = now or time.time()
    late = [
        sensor["name"]
        for sensor in sensors
        if sensor["sensorState"]["status"] == "RUNNING"
        for tick in sensor["sensorState"]["ticks"]
        if now - tick["timestamp"] > max(60.0, 3 * sensor["minIntervalSeconds"])
    ]
    return f"automation stands still: no tick lately of {', '.join(sorted(late))}" if late else None


def unfinished_runs(url: str) -> int:
    """How many runs wait in the queue, start, go on or are being cancelled."""
    text = """query($ended: [RunStatus!]) {all: runsOrError {... on Runs {count}}
        ended: runsOrError(filter: {statuses: $ended}) {... on Runs {count}}}"""
    counts = query(url, text, {"ended": sorted(FINISHED)}, timeout=10)
    return int(counts["all"].get("count") or 0) - int(counts["ended"].get("count") or 0)


def partitions(url: str, asset: str) -> list[str]:
    """The partitions of an asset, in their order."""
    text = """query($path: [String!]!) {assetNodeOrError(assetKey: {path: $path}) {
        ... on AssetNode {partitionKeys} ... on AssetNotFoundError {message}}}"""
    found = query(url, text, {"path": [asset]})["assetNodeOrError"]
    if "partitionKeys" not in found:
        raise PermanentFailure(f"Dagster does not know the asset {asset}: {found.get('message')}")
    return list(found["partitionKeys"])


def change_partitions(url: str, name: str, gone: Sequence[str], new: Sequence[str]) -> None:
    """Delete and add dynamic partitions of the set `name`."""
    where = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}
    if gone:
        text = """mutation($where: RepositorySelector!, $name: String!, $keys: [String!]!) {
            deleteDynamicPartitions(repositorySelector: $where, partitionsDefName: $name, partitionKeys: $keys) {
            __typename ... on PythonError {message} ... on UnauthorizedError {message}}}"""
        _done(query(url, text, {"where": where, "name": name, "keys": gone})["deleteDynamicPartitions"], name)
    text = """mutation($where: RepositorySelector!, $name: String!, $key: String!) {
        addDynamicPartition(repositorySelector: $where, partitionsDefName: $name, partitionKey: $key) {
        __typename ... on PythonError {message} ... on UnauthorizedError {message}}}"""
    for key in new:
        answer = query(url, text, {"where": where, "name": name, "key": key})["addDynamicPartition"]
        if answer["__typename"] != "DuplicateDynamicPartitionError":  # the sensor was faster
            _done(answer, name)


def _done(answer: dict[str, Any], name: str) -> None:
    if "Error" in answer["__typename"]:
        raise PermanentFailure(f"Dagster did not change the partitions {name}: {answer.get('message')}")


def metadata_of_job(url: str, job: str) -> dict[str, str]:
    """The texts in the metadata of a job, as its definition has them."""
    text = """query($job: PipelineSelector!) {pipelineOrError(params: $job) {... on Pipeline {
        metadataEntries {label ... on TextMetadataEntry {text}}}}}"""
    found = query(url, text, {"job": _selector(job)})["pipelineOrError"]
    return {entry["label"]: entry["text"] for entry in found.get("metadataEntries", []) if entry.get("text")}


def materialised(url: str, job: str) -> dict[str, Any]:
    """Of each asset of a job whether it was ever materialised; of a partitioned one, how many partitions are, and failed."""
    text = """query($job: PipelineSelector!) {assetNodes(pipeline: $job) {assetKey {path}
        partitionStats {numPartitions numMaterialized numFailed} assetMaterializations(limit: 1) {runId}}}"""
    return {
        "/".join(node["assetKey"]["path"]): node["partitionStats"] or bool(node["assetMaterializations"])
        for node in query(url, text, {"job": _selector(job)})["assetNodes"]
    }


def jobs_beside(url: str, run_id: str) -> set[str]:
    """The jobs of other runs that were at work since this one started, or are."""
    text = "query($id: ID!) {runOrError(runId: $id) {... on Run {startTime}}}"
    since = query(url, text, {"id": run_id})["runOrError"]["startTime"]
    text = """query($since: Float!, $at_work: [RunStatus!]) {
        touched: runsOrError(filter: {updatedAfter: $since}) {... on Runs {results {runId jobName startTime}}}
        at_work: runsOrError(filter: {statuses: $at_work}) {... on Runs {results {runId jobName startTime}}}}"""
    found = query(url, text, {"since": since, "at_work": ["STARTED", "CANCELING"]})
    runs = [*found["touched"]["results"], *found["at_work"]["results"]]
    return {run["jobName"] for run in runs if run["runId"] != run_id and run["startTime"] is not None}


def _selector(job: str) -> dict[str, str]:
    return {"pipelineName": job, "repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}


def launch(url: str, job: str, *, tags: dict[str, str] | None = None, run_config: dict[str, Any] | None = None) -> str:
    """Launch a named job as the UI does; returns the run id.

    Raises `TransientFailure` while the definitions are not loaded, `PermanentFailure` if Dagster refuses the job.
    """
    text = """mutation($params: ExecutionParams!) {launchPipelineExecution(executionParams: $params) {
        __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}
        ... on PipelineNotFoundError {message} ... on RunConfigValidationInvalid {errors {message}}}}"""
    params = {
        "selector": _selector(job),
        "mode": "default",
        "runConfigData": run_config or {},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]},
    }
    answer = query(url, text, {"params": params})["launchPipelineExecution"]
    if answer["__typename"] == "PipelineNotFoundError" and (problem := code_location_problem(url)):
        # What Dagster says of any job while the code server is away is that it could not find it.
        raise TransientFailure(f"Dagster cannot launch {job} now: {problem}; see: genre-assets status")
    if answer["__typename"] != "LaunchRunSuccess":
        raise PermanentFailure(
            f"Dagster did not launch {job}: {answer.get('message') or answer.get('errors') or answer}"
        )
    run_id: str = answer["run"]["runId"]
    return run_id


@dataclass
class RunProgress:
    """Where a run stands."""

    run_id: str
    status: str
    started: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def progress(url: str, run_id: str) -> RunProgress:
    """Status, steps and failure messages of one run."""
    text = """query($id: ID!) {runOrError(runId: $id) {__typename ... on Run {runId status
        stepStats {stepKey status}} ... on RunNotFoundError {message}}
        logsForRun(runId: $id, limit: 2000) {... on EventConnection {events {__typename
          ... on ExecutionStepFailureEvent {stepKey error {message cause {message}}}
          ... on RunFailureEvent {message error {message cause {message}}}}}}}"""
    data = query(url, text, {"id": run_id})
    run = data["runOrError"]
    if run["__typename"] != "Run":
        raise PermanentFailure(f"Dagster knows no run {run_id}")
    stats = run["stepStats"] or []
    failures = [
        _message(event)
        for event in (data["logsForRun"] or {}).get("events", [])
        if event["__typename"] in {"ExecutionStepFailureEvent", "RunFailureEvent"}
    ]
    return RunProgress(
        run_id,
        run["status"],
        started=[step["stepKey"] for step in stats],
        finished=[step["stepKey"] for step in stats if step["status"] == "SUCCESS"],
        failures=failures,
    )


def wait(
    url: str, run_id: str, *, on_progress: Callable[[RunProgress], None] = lambda _: None, timeout: float = 3600.0
) -> RunProgress:
    """Follow a run to its end; `on_progress` is called at each look. Raises `TransientFailure` at the timeout."""
    for now in _look(url, run_id, timeout):
        on_progress(now)
        if now.status in FINISHED:
            return now
    raise TransientFailure(f"run {run_id} is not finished after {timeout:.0f} s; see {url}/runs/{run_id}")


def _look(url: str, run_id: str, timeout: float) -> Iterator[RunProgress]:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        yield progress(url, run_id)
        time.sleep(0.7)


def _message(event: dict[str, Any]) -> str:
    error = event.get("error") or {}
    cause = error.get("cause") or {}
    said = cause.get("message") or error.get("message") or event.get("message") or ""
    return f"{event.get('stepKey') or 'run'}: {said.strip()}"
