"""Do code, databases, environment pack and release fit together? An upgrade that was half made, or undone, leaves them apart.

Nothing is changed and nothing is loaded: versions are read where they are written.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from genre_assets.errors import GenreError
from genre_assets.packaging.code import model_files
from genre_assets.packaging.environment import lock as locks
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.settings import Settings
from genre_assets.stack import table_versions
from genre_assets.stack.configuration import own_addresses
from genre_assets.stack.diagnosis import Diagnosis, Level
from genre_assets.stack.supervision.run_files import supervisor_pid
from genre_assets.triton.protocol import PYTHON_MODELS, model_for

if TYPE_CHECKING:
    from genre_assets.packaging.release import Release

SUBJECT = "versions"


def find(settings: Settings) -> Iterator[Diagnosis]:
    """What does not fit, each with what to do; nothing where all fits. A database that does not answer is passed over."""
    for name, version in table_versions_of(settings).items():
        yield from in_database(name, version)
    yield from on_disk(settings)


def on_disk(settings: Settings) -> Iterator[Diagnosis]:
    """Code, environment and the release that the files say; no service is asked."""
    repository = ModelRepository(settings.repository)
    try:
        identifier = repository.release
        release = repository.manifest(identifier) if identifier else None
    except (OSError, ValueError, GenreError) as error:
        yield Diagnosis(
            SUBJECT, Level.PROBLEM, f"the release in {repository.releases} cannot be read: {error}",
            "Move its folder away, and promote again: it is fetched anew.",
        )  # fmt: skip
        return
    if release is not None:
        yield from _code(release)
        yield from _environment(release, repository)


def reachable(settings: Settings) -> list[str]:
    """The databases that somebody stated, and this folder's own while its stack runs: others may be a stranger's."""
    own = own_addresses(settings.home)
    runs = supervisor_pid(settings.home) is not None
    return [name for name, field in table_versions.SETTINGS.items() if runs or f"GENRE_{field.upper()}" not in own]


def table_versions_of(settings: Settings) -> dict[str, str | None]:
    """The version of the tables of each database that may be asked; None for one that does not answer."""
    return {name: table_versions.read(name, table_versions.stated(settings, name)) for name in reachable(settings)}


def in_database(name: str, found: str | None) -> Iterator[Diagnosis]:
    """What of a version of a database's tables does not fit the code; nothing where none is known."""
    standing = table_versions.standing(name, found or "")
    heads = ", ".join(sorted(table_versions.known(name).heads))
    if standing == "newer":
        yield Diagnosis(
            SUBJECT, Level.PROBLEM,
            f"the tables of the database {name} are at version {found}, and this code knows them up to {heads}: later code was here",
            "Install that code again, or go back by a backup from before the upgrade: docs/howto/upgrade.md.",
        )  # fmt: skip
    elif standing == "older":
        yield Diagnosis(
            SUBJECT, Level.WARNING,
            f"the tables of the database {name} are at version {found}, and this code is at {heads}",
            "Make a backup, then: genre-assets migrate.",
        )  # fmt: skip


def _code(release: "Release") -> Iterator[Diagnosis]:
    # Here, so that the databases' part, which is asked beside, is not kept waiting.
    from genre_assets.audio.extract import FEATURE_SETS

    spec = release.spec
    features = FEATURE_SETS.get(spec.feature_set)
    here = features.version if features else "none"
    if here != spec.feature_set_version:
        yield Diagnosis(
            SUBJECT, Level.WARNING,
            f"release {release.id} extracts {spec.feature_set} of version {spec.feature_set_version}, this code has {here}",
            "It serves on by the code that it brought. To train and release by this code: genre-assets run.",
        )  # fmt: skip
        return
    differs = [
        path
        for name in PYTHON_MODELS
        for path, data in model_files(name).items()
        for place, digest in release.files.items()
        if place.startswith(f"models/{model_for(name, release.contents)}/") and place.split("/", 3)[3:] == [path]
        if hashlib.sha256(data).hexdigest() != digest
    ]
    if differs:
        more = f" and {len(set(differs)) - 1} more" if len(set(differs)) > 1 else ""
        yield Diagnosis(
            SUBJECT, Level.WARNING, f"release {release.id} was built by other code than is installed ({differs[0]}{more})",
            "It serves on by the code that it brought. To release by this code: genre-assets run.",
        )  # fmt: skip


def _environment(release: "Release", repository: ModelRepository) -> Iterator[Diagnosis]:
    folder = repository.path.parent / "environments" / release.environment
    try:
        found = locks.read(folder).lock.hash
    except (GenreError, ValueError, TypeError, KeyError):
        yield Diagnosis(
            SUBJECT, Level.PROBLEM,
            f"release {release.id} needs the environment {release.environment}, and {folder} holds none that is finished",
            "genre-assets promote fetches it from the serving bucket.",
        )  # fmt: skip
        return
    wanted = {locks.local_lock().hash, locks.conda_forge_lock().hash}
    if found != release.environment:
        yield Diagnosis(
            SUBJECT, Level.PROBLEM, f"release {release.id} needs the environment {release.environment}, {folder} holds {found}",
            "Move that folder away; genre-assets promote fetches the right one.",
        )  # fmt: skip
    elif found not in wanted:
        yield Diagnosis(
            SUBJECT, Level.WARNING,
            f"release {release.id} runs in the environment {found}, which the files of this code would not make",
            "It serves on. The next build makes the environment anew: genre-assets run.",
        )  # fmt: skip
