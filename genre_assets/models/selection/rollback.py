"""Back to an earlier version, by a person's hand: one call, audited, refused when it would leave no fallback."""

from genre_assets.errors import BadInput
from genre_assets.models.mlflow.registry import Alias, ModelRegistry
from genre_assets.models.mlflow.tracking import CUT_TAG
from genre_assets.models.selection.fallback import fails_alike, objection_to


def rollback(
    registry: ModelRegistry, version: int, *, alias: Alias = "champion", actor: str, reason: str, floor: float = 0.0
) -> str:
    """Point the alias to an earlier version. Returns what was done, in words.

    The next `retrain` or `build` publishes it; a champion that a person has chosen stays until new data brings a
    challenger through the gate. Raises `BadInput` for an unknown version or one that cannot be released, an empty reason, a champion with which
    the fallback fails alike, or a fallback to which there is an objection (`floor` is `GENRE_FALLBACK_FLOOR`).
    """
    if not reason.strip():
        raise BadInput("a rollback needs a reason: it is what the history will show")
    wanted = registry.version(version)
    if wanted is None:
        known = ", ".join(str(v.version) for v in registry.versions()) or "none"
        raise BadInput(f"there is no version {version}; registered are: {known}")
    if CUT_TAG not in wanted.tags:
        raise BadInput(
            f"version {version} does not say how its clips were cut: it was trained by an older release of the platform, "
            "and cannot be released again"
        )
    other_alias: Alias = "fallback" if alias == "champion" else "champion"
    other = registry.version(other_alias)
    if alias == "champion" and other is not None and fails_alike(other.family, wanted.family):
        raise BadInput(
            f"version {version} is of the family {wanted.family}, and the fallback (version {other.version}, "
            f"{other.family}) is of the same or a mixture with it: it fails alike. Move the fallback first."
        )
    if alias == "fallback" and other is not None and (why := objection_to(wanted, other, floor)):
        raise BadInput(f"version {version} cannot be the fallback: {why}")
    moved = registry.move(alias, version, actor=actor, reason=reason, evidence={"rollback": True})
    if not moved:
        return f"{alias} is version {version} ({wanted.family}) already"
    done = f"{alias} is now version {version} ({wanted.family})"
    if alias == "champion" and other is not None and (why := objection_to(other, wanted, floor)):
        done += f". It has no fallback until the next build: version {other.version}, {why}"
    return done
