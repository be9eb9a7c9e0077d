"""The whole build, unless all is as the last one left it: then a run would take half a minute to find nothing to do.

What a build reads and what it leaves is known by facts, which are kept when it ends. They are kept only if what it reads is
the same before and after, no other run was at work on the same things, and the ensemble answers: whatever came in
meanwhile is built by the next one.
"""

from dataclasses import asdict, dataclass
from typing import Any

from genre_assets import keys
from genre_assets.database import Database
from genre_assets.errors import DamagedObject, GenreError
from genre_assets.serving import going_live
from genre_assets.settings import Settings
from genre_assets.stack.facts import State, state
from genre_assets.stack.orchestrate import Report, launch_and_follow
from genre_assets.stack.services import graphql
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.control import TritonControl

BESIDE = frozenset({"ingest", "drift", "drift_page", "batch", "promote"})
"""Jobs that may go on beside a build: they make other things, or (ingest) the same of the same."""


@dataclass(frozen=True)
class LastBuild:
    """A run of the job `build`, and the state that it left."""

    run_id: str
    state: State


def build(settings: Settings, *, report: Report, force: bool = False) -> bool:
    """Launch the job `build` and follow it to its end. Returns False where there was nothing to do, and none was launched.

    With `force` it is launched whatever is known. Raises what `orchestrate.launch_and_follow` raises.
    """
    store = ObjectStore(s3_client(settings))
    last, before = _last(settings, store), _state(settings, store)
    if last is not None and before is not None and not force:
        changed = before.changed_since(last.state)
        if not changed and _answers(settings, store):
            report(
                f"nothing to do: all is as run {last.run_id[:8]} left it, and the ensemble answers "
                f"({settings.dagster_link}/runs/{last.run_id}); genre-assets run --force builds all the same"
            )
            return False
        report(f"changed since run {last.run_id[:8]}: {', '.join(changed) or 'what the ensemble answers'}")
    end = launch_and_follow(settings, "build", report=report)
    if before is not None:
        _keep(settings, store, end.run_id, before)
    return True


def _state(settings: Settings, store: ObjectStore) -> State | None:
    """None where it cannot be known: the run says better why."""
    try:
        return state(settings, store)
    except GenreError:
        return None


def _keep(settings: Settings, store: ObjectStore, run_id: str, before: State) -> None:
    after = _state(settings, store)
    if after is None or after.read != before.read or not _answers(settings, store):
        return
    try:
        if BESIDE.issuperset(graphql.jobs_beside(settings.dagster_url, run_id)):
            store.write_json(settings.serving_bucket, keys.LAST_BUILD, {"run": run_id, **asdict(after)})
    except GenreError:  # the next one is built, as if nothing was known
        return


def _last(settings: Settings, store: ObjectStore) -> LastBuild | None:
    """What is on record; None where nothing is, or nothing that can be read."""
    try:
        kept: dict[str, Any] = store.read_json(settings.serving_bucket, keys.LAST_BUILD)
        return LastBuild(kept["run"], State(kept["read"], kept["left"]))
    except (FileNotFoundError, DamagedObject, KeyError, TypeError):
        return None


def _answers(settings: Settings, store: ObjectStore) -> bool:
    """Whether the newest release serves, and answers its golden clips as offline."""
    try:
        database = Database(settings.database_url.get_secret_value())
        return going_live.inspect(settings, store, database, TritonControl.from_settings(settings)).passed
    except (GenreError, OSError):
        return False
