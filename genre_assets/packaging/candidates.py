"""Which registry versions go into a release: champion, a sound fallback, and the newest other one that fits beside them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genre_assets.errors import BadInput
from genre_assets.models.onnx.portable import read_manifest
from genre_assets.models.selection.fallback import objection_to

if TYPE_CHECKING:
    from genre_assets.models.mlflow.registry import ModelRegistry


@dataclass(frozen=True)
class Chosen:
    """Downloaded models by registry version, who plays which role, and what is left out and why, if anything is."""

    folders: Mapping[int, Path]
    roles: Mapping[str, int]
    left_out: str = ""


def choose_versions(registry: "ModelRegistry", folder: Path, floor: float) -> Chosen:
    """Download what a release needs; `floor` is `GENRE_FALLBACK_FLOOR`. Raises `BadInput` if there is no champion.

    A fallback to which there is an objection is left out: the champion alone serves better than what fails with it.
    """
    champion, fallback = registry.version("champion"), registry.version("fallback")
    if champion is None:
        raise BadInput("the registry has no champion yet: materialise champion_models")
    roles, left_out = {"champion": champion.version}, []
    if fallback is not None:
        why = objection_to(fallback, champion, floor)
        if why is None:
            roles["fallback"] = fallback.version
        else:
            left_out.append(f"the fallback, version {fallback.version}: {why}")
    folders = {version: registry.download(version, folder / str(version)) for version in dict.fromkeys(roles.values())}
    own = read_manifest(folders[champion.version])
    spare = roles.get("fallback")
    if spare is not None and (other := read_manifest(folders[spare]).differs(own)):
        left_out.append(f"the fallback, version {spare}: it has other {', '.join(other)} than the champion")
        del roles["fallback"], folders[spare]
    newest = next((v.version for v in registry.versions() if v.version not in folders), None)
    if newest is None or newest < max(folders):
        return Chosen(folders, roles, "; ".join(left_out))
    candidate = registry.download(newest, folder / str(newest))
    if other := read_manifest(candidate).differs(own):
        left_out.append(f"version {newest}: it has other {', '.join(other)} than the champion")
        return Chosen(folders, roles, "; ".join(left_out))
    return Chosen({**folders, newest: candidate}, roles, "; ".join(left_out))
