"""Which registry versions go into a release: champion, fallback, and the newest other one that fits beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.errors import BadInput
from genre_assets.models.portable import read_manifest
from genre_assets.packaging.release import fits

if TYPE_CHECKING:
    from genre_assets.models.registry import ModelRegistry


@dataclass(frozen=True)
class Chosen:
    """Downloaded models by registry version, who plays which role, and why the newest one is left out, if it is."""

    folders: Mapping[int, Path]
    roles: Mapping[str, int]
    left_out: str = ""


def choose_versions(registry: "ModelRegistry", folder: Path) -> Chosen:
    """Download what a release needs. Raises `BadInput` if there is no champion."""
    roles = {}
    for alias in ("champion", "fallback"):
        found = registry.version(alias)
        if found is not None:
            roles[alias] = found.version
    if "champion" not in roles:
        raise BadInput("the registry has no champion yet: materialise champion_models")
    folders = {version: registry.download(version, folder / str(version)) for version in dict.fromkeys(roles.values())}
    newest = next((v.version for v in registry.versions() if v.version not in folders), None)
    if newest is None or newest < max(folders):
        return Chosen(folders, roles)
    candidate = registry.download(newest, folder / str(newest))
    if not fits(read_manifest(candidate), read_manifest(folders[roles["champion"]])):
        return Chosen(folders, roles, f"version {newest}: trained on other features than the champion")
    return Chosen({**folders, newest: candidate}, roles)
