"""How soon the fallback serves after the last item of a bad window, and what the commands take where nothing is to be done.

A stack of its own, and the demo's story told again and again on it: each time drift moves the route to the fallback and back. The
times are the database's: from the last item of the window that decided to the booking of the move. The first telling builds;
it counts for the reaction and not for the time of another one. GENRE_BENCH_STORIES="2" sets another number of tellings.
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._audio_common import at_most
from benchmarks.audio_to_live import done, stack_beside_sounds
from genre_assets.database import Database
from genre_assets.settings import load_settings

STORIES = int(os.environ.get("GENRE_BENCH_STORIES", "6"))
CLIPS = 12
REACTION, STORY_AGAIN, NOTHING = 8.0, 60.0, 8.0
REACTIONS = """
SELECT extract(epoch FROM r.switched_at - max(w.closed_at))::float AS seconds
FROM route_state r JOIN drift_windows w ON r.evidence->'windows' ? w.id
WHERE r.actor = 'drift' AND r.route = 'fallback' AND r.switched_at IS NOT NULL GROUP BY r.id, r.switched_at
"""


def run() -> list[dict[str, Any]]:
    """Seconds to the fallback, of a demo that finds everything built, and of a run that finds nothing to do."""
    with stack_beside_sounds(CLIPS) as (home, folder):
        stories = [_timed(home, "demo", "--audio", str(folder)) for _ in range(STORIES)]
        done(home, "run")  # trains by the documented settings, where the story's are shorter
        idle = [_timed(home, "run") for _ in range(3)]
        database = Database(load_settings(home).database_url.get_secret_value())
        reactions = [row["seconds"] for row in database.rows(REACTIONS)]
    if not reactions:
        raise RuntimeError("drift moved no route")
    reaction = float(np.percentile(reactions, 95))
    return [
        at_most("the last item of a bad window, to the fallback that serves, p95", reaction, REACTION, "s", __name__),
        at_most("the demo once more on a stack that is up", float(np.median(stories[1:])), STORY_AGAIN, "s", __name__),
        at_most("a run that finds nothing to do", float(np.median(idle)), NOTHING, "s", __name__),
    ]


def _timed(home: Path, *words: str) -> float:
    began = time.monotonic()
    done(home, *words)
    return time.monotonic() - began
