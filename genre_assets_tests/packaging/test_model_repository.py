"""Releases on disk: the link is switched whole, and what is not ours is not touched."""

from pathlib import Path

import pytest

from genre_assets.errors import BadInput
from genre_assets.packaging.model_repository import EMPTY, ModelRepository


def release(repository: ModelRepository, name: str) -> None:
    ensemble = repository.folder(name) / "models" / "genre_ensemble"
    ensemble.mkdir(parents=True)
    (ensemble / "config.pbtxt").write_text(name)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    made = ModelRepository(tmp_path / "triton" / "repository")
    made.ensure()
    return made


def test_a_new_repository_is_empty_and_released_nothing(repository: ModelRepository) -> None:
    assert repository.path.is_dir()
    assert not list(repository.path.iterdir())
    assert not repository.is_released
    assert repository.release is None


def test_pointing_switches_the_whole_repository(repository: ModelRepository) -> None:
    release(repository, "one")
    release(repository, "two")
    repository.point("one")
    assert (repository.release, repository.is_released) == ("one", True)
    repository.point("two")
    assert (repository.path / "genre_ensemble" / "config.pbtxt").read_text() == "two"
    assert [p.name for p in repository.path.parent.iterdir() if p.name.startswith(".")] == []


def test_an_empty_folder_in_its_place_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    ModelRepository(tmp_path / "models").ensure()
    assert (tmp_path / "models").is_symlink()


def test_a_folder_with_someone_elses_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models" / "theirs").mkdir(parents=True)
    with pytest.raises(BadInput, match="GENRE_TRITON_REPOSITORY"):
        ModelRepository(tmp_path / "models").ensure()
    assert (tmp_path / "models" / "theirs").is_dir()


def test_a_dangling_link_is_repaired(repository: ModelRepository) -> None:
    repository.point("gone")
    repository.ensure()
    assert repository.path.is_dir()


def test_old_releases_go_but_the_live_one_stays(repository: ModelRepository) -> None:
    for name in ("a", "b", "c", "d"):
        release(repository, name)
    repository.point("a")
    removed = repository.remove_old(keep=1)
    left = {p.name for p in repository.releases.iterdir()} - {EMPTY}
    assert len(removed) == 2
    assert "a" in left
    assert len(left) == 2
