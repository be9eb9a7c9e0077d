"""How soon the fallback serves after the last item of a bad window, and what the commands take where nothing is to be done.

A stack of its own, and the demo's story told again and again on it: each time drift moves the route to the fallback and back. The
times are the database's: from the last item of the window that decided to the booking of the move. The first telling builds;
it counts for the reaction and not for the time of another one. Of the last telling and of the last run without work it says where
their time goes. GENRE_BENCH_STORIES="2" sets another number of tellings.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._audio_common import at_most, row
from benchmarks.audio_to_live import done, said, stack_beside_sounds
from genre_assets.database import Database
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.services import graphql

STORIES = int(os.environ.get("GENRE_BENCH_STORIES", "6"))
CLIPS = 12
REACTION, STORY_AGAIN, NOTHING = 8.0, 60.0, 8.0
REACTIONS = """
SELECT extract(epoch FROM r.switched_at - max(w.closed_at))::float AS seconds
FROM route_state r JOIN drift_windows w ON r.evidence->'windows' ? w.id
WHERE r.actor = 'drift' AND r.route = 'fallback' AND r.switched_at IS NOT NULL GROUP BY r.id, r.switched_at
"""
CHAPTERS = {
    "the services get the story's settings": "1",
    "the build": "4",
    "drift, to the fallback": "6",
    "clean audio, to the champion": "7",
    "the services get their settings back": "8",
}
NEWEST_BUILD = 'query {runsOrError(filter: {pipelineName: "build"}, limit: 1) {... on Runs {results {runId}}}}'
EVENTS = """query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events {
    __typename ... on MessageEvent {timestamp}}}}}"""


def run() -> list[dict[str, Any]]:
    """Seconds to the fallback, of a demo that finds everything built, and of a run that finds nothing to do."""
    with stack_beside_sounds(CLIPS) as (home, folder):
        stories, told = list[float](), ""
        for _ in range(STORIES):
            began = time.monotonic()
            told = said(home, "demo", "--audio", str(folder))
            stories.append(time.monotonic() - began)
        done(home, "run")  # trains by the documented settings, where the story's are shorter
        idle = [_timed(home, "run") for _ in range(3)]
        launched = _timed(home, "run", "--force")
        settings = load_settings(home)
        parts = list(_parts_of_a_run(settings))
        database = Database(settings.database_url.get_secret_value())
        reactions = [found["seconds"] for found in database.rows(REACTIONS)]
    if not reactions:
        raise RuntimeError("drift moved no route")
    reaction = float(np.percentile(reactions, 95))
    return [
        at_most("the last item of a bad window, to the fallback that serves, p95", reaction, REACTION, "s", __name__),
        at_most("the demo once more on a stack that is up", float(np.median(stories[1:])), STORY_AGAIN, "s", __name__),
        at_most("a run that finds nothing to do", float(np.median(idle)), NOTHING, "s", __name__),
        row("the same run, launched all the same", launched, "s", __name__),
        *(row(f"the demo once more: {what}", seconds, "s", __name__) for what, seconds in _parts_of_a_story(told)),
        *(row(f"the same run, launched all the same: {what}", value, unit, __name__) for what, value, unit in parts),
    ]


def _parts_of_a_story(told: str) -> Iterator[tuple[str, float]]:
    """How long each chapter took: from the last time that is said in the one before to the last in it."""
    ends, number = {"0": 0.0}, "0"
    for line in told.splitlines():
        if heading := re.match(r"(\d+)\. ", line):
            number = heading[1]
        elif seconds := re.match(r" *(\d+\.\d) s  ", line):
            ends[number] = float(seconds[1])
    for what, number in CHAPTERS.items():
        yield what, ends[number] - max(end for one, end in ends.items() if int(one) < int(number))


def _parts_of_a_run(settings: Settings) -> Iterator[tuple[str, float, str]]:
    """Of the newest build, by its events."""
    url = settings.dagster_url
    (newest,) = graphql.query(url, NEWEST_BUILD)["runsOrError"]["results"]
    events = graphql.query(url, EVENTS, {"id": newest["runId"]})["logsForRun"]["events"]

    def times(kind: str) -> list[float]:
        return [float(event["timestamp"]) / 1e3 for event in events if event["__typename"] == kind]

    (asked,), (began,), (ended,) = times("RunEnqueuedEvent"), times("RunStartEvent"), times("RunSuccessEvent")
    steps = times("ExecutionStepStartEvent")
    yield "the queue, and a process with its definitions", began - asked, "s"
    yield "libraries, and a run of MLflow", min(steps) - began, "s"
    yield "its steps", ended - min(steps), "s"
    yield "how many steps", float(len(steps)), ""


def _timed(home: Path, *words: str) -> float:
    began = time.monotonic()
    done(home, *words)
    return time.monotonic() - began
