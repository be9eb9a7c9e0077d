"""Releases on disk: the link is switched whole, and what is not ours is not touched."""

from pathlib import Path

import pytest

from genre_assets.errors import BadInput
from genre_assets.packaging import layout


def release(repository: Path, name: str) -> None:
    ensemble = layout.releases_folder(repository) / name / "models" / "genre_ensemble"
    ensemble.mkdir(parents=True)
    (ensemble / "config.pbtxt").write_text(name)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "triton" / "repository"
    layout.ensure_repository(path)
    return path


def test_a_new_repository_is_empty_and_released_nothing(repository: Path) -> None:
    assert repository.is_dir()
    assert not list(repository.iterdir())
    assert not layout.is_released(repository)
    assert layout.live_release(repository) is None


def test_pointing_switches_the_whole_repository(repository: Path) -> None:
    release(repository, "one")
    release(repository, "two")
    layout.point(repository, "one")
    assert (layout.live_release(repository), layout.is_released(repository)) == ("one", True)
    layout.point(repository, "two")
    assert (repository / "genre_ensemble" / "config.pbtxt").read_text() == "two"
    assert [p.name for p in repository.parent.iterdir() if p.name.startswith(".")] == []


def test_an_empty_folder_in_its_place_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    layout.ensure_repository(tmp_path / "models")
    assert (tmp_path / "models").is_symlink()


def test_a_folder_with_someone_elses_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models" / "theirs").mkdir(parents=True)
    with pytest.raises(BadInput, match="GENRE_TRITON_REPOSITORY"):
        layout.ensure_repository(tmp_path / "models")
    assert (tmp_path / "models" / "theirs").is_dir()


def test_a_dangling_link_is_repaired(repository: Path) -> None:
    layout.point(repository, "gone")
    layout.ensure_repository(repository)
    assert repository.is_dir()


def test_old_releases_go_but_the_live_one_stays(repository: Path) -> None:
    for name in ("a", "b", "c", "d"):
        release(repository, name)
    layout.point(repository, "a")
    removed = layout.remove_old(repository, keep=1)
    left = {p.name for p in layout.releases_folder(repository).iterdir()} - {layout.EMPTY}
    assert len(removed) == 2
    assert "a" in left
    assert len(left) == 2
