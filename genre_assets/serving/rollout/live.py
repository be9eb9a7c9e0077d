"""From a published release to an answering ensemble: fetch, verify, switch, load, ask the golden clips.

Each step can be repeated; a run that finds everything in place changes nothing. If anything fails, the release before
serves on. Files and loading are the business of `live_files.py`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from genre_assets.checks import CheckFinding
from genre_assets.errors import BadInput, GenreError, PermanentFailure
from genre_assets.packaging import golden, publish
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.packaging.release import Release
from genre_assets.serving.promotion.policy import Route
from genre_assets.serving.rollout.live_files import load, retire, return_to, stage, stale
from genre_assets.settings import Settings
from genre_assets.steps import Step, reached
from genre_assets.store import ObjectStore
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.control import TritonControl


@dataclass(frozen=True)
class Live:
    """What serves now, and what was done for it."""

    release: Release
    route: Route
    version: int
    route_before: str | None
    published: bool  # whether another release serves than before
    comparisons: list[golden.Comparison] = field(default_factory=list)
    seconds: float = 0.0


def go_live(
    settings: Settings,
    store: ObjectStore,
    control: TritonControl,
    client: GenreClient,
    choose: Callable[[Release], Route],
    release: Release | None = None,
) -> Live:
    """Serve a release (the newest one) on the route that `choose` names ("champion" or "fallback"), given that release.

    It is asked when the repository is locked, so that no other change comes between the choice and its effect.

    Raises
    ------
    BadInput
        If there is no release, or it has no version for the route.
    PermanentFailure
        If it does not load or does not answer as the offline path does; what served before serves on.
    TransientFailure
        If a service does not answer.
    """
    started = time.monotonic()
    release = release or newest(settings, store)
    repository = ModelRepository(settings.repository)
    repository.ensure()
    with repository.locked():
        route = choose(release)
        if route not in release.roles:
            raise BadInput(f"release {release.id} has no {route}; it has: {', '.join(release.roles)}")
        version = release.roles[route]
        before = repository.standing()
        serves = before.release == release.id and not stale(control, release, before.route)
        try:
            folder = repository.folder(release.id)
            if not serves or before.route != route:  # something will be loaded: it is verified before
                stage(settings, store, repository, release)
            repository.write_route(route, release.id)
            repository.point(release.id)
        except OSError as error:  # a full disk: the server was told nothing yet
            raise PermanentFailure(f"release {release.id} is not on disk: {error}. {before.serves_on()}") from error
        try:
            load(repository, control, release, route)
            comparisons = ask_golden(client, release, folder, version)
            reached(Step.PROMOTE_GOLDEN)
        except (GenreError, OSError) as error:
            return_to(repository, control, before)
            raise PermanentFailure(f"release {release.id} is not live: {error}. {before.serves_on()}") from error
        retire(control, release)
    repository.remove_old(settings.releases_kept)
    return Live(release, route, version, before.route, not serves, comparisons, time.monotonic() - started)


def inspect(settings: Settings, store: ObjectStore, control: TritonControl, client: GenreClient) -> CheckFinding:
    """Whether the server serves the newest release and answers its golden clips; changes nothing."""
    release = newest(settings, store)
    route = control.route()
    facts = {"release": release.id, "route": route or "none"}
    if route is None or stale(control, release, route):
        return CheckFinding(False, f"the server does not serve release {release.id}: materialise live_ensemble", facts)
    try:
        folder = ModelRepository(settings.repository).folder(release.id)
        comparisons = ask_golden(client, release, folder, release.roles[route])
    except (GenreError, OSError) as error:
        return CheckFinding(False, str(error), facts)
    summary = f"{len(comparisons)} golden clips are answered as offline by the {route}"
    return CheckFinding(True, summary, {**facts, "largest difference": max(c.difference for c in comparisons)})


def newest(settings: Settings, store: ObjectStore) -> Release:
    """The release that `triton_repo` published last. Raises `BadInput` if there is none."""
    try:
        return publish.newest(settings, store)
    except FileNotFoundError as error:
        raise BadInput("there is no release yet: materialise triton_repo") from error


def ask_golden(client: GenreClient, release: Release, folder: Path, version: int) -> list[golden.Comparison]:
    """Ask the server the golden clips. Raises `PermanentFailure` that names the clips answered otherwise than offline."""
    offline = {entry["clip"]: entry for entry in release.golden if entry["version"] == version}
    clips = list(offline)
    answers = client.predict([(folder / "golden" / clip).read_bytes() for clip in clips], log=False)
    comparisons = []
    for clip, given in zip(clips, answers, strict=True):
        if given.version != version:
            raise PermanentFailure(f"version {given.version} answers instead of version {version}")
        comparisons.append(
            golden.compare(clip, version, offline[clip], given.label, list(given.probabilities.values()), given.error)
        )
    wrong = [
        f"{c.clip} ({c.offline} offline, {c.served} served, difference {c.difference:.1e})"
        for c in comparisons
        if not c.agrees
    ]
    if wrong:
        raise PermanentFailure(f"version {version} answers otherwise than offline: {', '.join(wrong)}")
    return comparisons
