"""A person's way back: audited, and refused when it would do harm."""

from pathlib import Path

import pytest

from genre_assets import audit
from genre_assets.database import Database
from genre_assets.errors import BadInput
from genre_assets.models.mlflow.registry import NAME, ModelRegistry
from genre_assets.models.selection import fallback
from genre_assets.models.selection.rollback import rollback
from genre_assets_tests.models.mlflow.test_registry import register


@pytest.fixture
def served(registry: ModelRegistry, tmp_path: Path) -> ModelRegistry:
    """Versions 1 (xgboost), 2 (linear), 3 (xgboost, the champion); the fallback is 2."""
    for key, family in (("a", "xgboost"), ("b", "linear"), ("c", "xgboost")):
        register(registry, tmp_path, key=key, family=family)
    registry.move("champion", 3, actor="champion_models", reason="better")
    registry.move("fallback", 2, actor="champion_models", reason="robust")
    robust = registry.version("fallback")
    assert robust is not None
    registry.tag(robust, fallback.TAG, fallback.Heard(0.5, 0.4, 0.6, 0.1).to_tag())
    return registry


def test_the_champion_goes_back_and_the_history_says_who_and_why(served: ModelRegistry, database: Database) -> None:
    said = rollback(served, 1, actor="ada", reason="complaints about jazz")
    assert said == "champion is now version 1 (xgboost)"
    champion = served.version("champion")
    assert champion is not None
    assert champion.version == 1
    newest = audit.history(database)[0]
    assert (newest.moved_from, newest.moved_to, newest.actor, newest.reason) == (
        "3",
        "1",
        "ada",
        "complaints about jazz",
    )


def test_going_back_to_what_serves_changes_nothing(served: ModelRegistry, database: Database) -> None:
    assert "already" in rollback(served, 3, actor="ada", reason="r")
    assert len(audit.history(database)) == 2


def test_an_unknown_version_is_refused_with_those_that_are_there(served: ModelRegistry) -> None:
    with pytest.raises(BadInput, match="registered are: 3, 2, 1"):
        rollback(served, 9, actor="ada", reason="r")


def test_a_rollback_without_a_reason_is_refused(served: ModelRegistry) -> None:
    with pytest.raises(BadInput, match="needs a reason"):
        rollback(served, 1, actor="ada", reason=" ")


def test_a_champion_that_no_fallback_can_stand_beside_is_taken_and_the_answer_says_so(
    served: ModelRegistry, tmp_path: Path
) -> None:
    other = register(served, tmp_path, key="d", family="xgboost", cut="in halves")
    said = rollback(served, other.version, actor="ada", reason="r")
    assert said.startswith(
        "champion is now version 4 (xgboost). It has no fallback until the next build: version 2, it "
    )
    assert "has other cut than the champion" in said


def test_a_version_that_cannot_be_released_again_is_refused(served: ModelRegistry) -> None:
    served._client.delete_model_version_tag(NAME, "1", "cut")
    with pytest.raises(BadInput, match="does not say how its clips were cut"):
        rollback(served, 1, actor="ada", reason="r")


def test_a_champion_of_the_fallbacks_family_is_refused(served: ModelRegistry) -> None:
    with pytest.raises(BadInput, match="fails alike"):
        rollback(served, 2, actor="ada", reason="r")
