"""Back to an earlier version, by a person's hand: one call, audited, refused when it would leave no fallback."""

from genre_assets.errors import BadInput
from genre_assets.models.registry import Alias, ModelRegistry


def rollback(registry: ModelRegistry, version: int, *, alias: Alias = "champion", actor: str, reason: str) -> str:
    """Point the alias to an earlier version. Returns what was done, in words.

    The next `retrain` or `build` publishes it; a champion that a person has chosen stays until new data brings a
    challenger through the gate. Raises `BadInput` for an unknown version, an empty reason, or a version of the same
    family as the other alias has.
    """
    if not reason.strip():
        raise BadInput("a rollback needs a reason: it is what the history will show")
    wanted = registry.version(version)
    if wanted is None:
        known = ", ".join(str(v.version) for v in registry.versions()) or "none"
        raise BadInput(f"there is no version {version}; registered are: {known}")
    other_alias: Alias = "fallback" if alias == "champion" else "champion"
    other = registry.version(other_alias)
    if other is not None and other.family == wanted.family:
        raise BadInput(
            f"version {version} is of the family {wanted.family}, as the {other_alias} (version {other.version}) is: "
            f"a fallback of the same family fails alike. Move the {other_alias} to another family first."
        )
    moved = registry.move(alias, version, actor=actor, reason=reason, evidence={"rollback": True})
    if not moved:
        return f"{alias} is version {version} ({wanted.family}) already"
    return f"{alias} is now version {version} ({wanted.family})"
