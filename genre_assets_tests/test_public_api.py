"""What `genre_assets` offers by name: as documented, typed, and free until it is used."""

import doctest
import inspect
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from numpydoc.validate import validate

import genre_assets
from genre_assets_tests.live import COMMAND


def test_every_public_name_is_the_object_of_its_home() -> None:
    assert sorted(HOMES) == sorted(genre_assets.__all__) == sorted(dir(genre_assets))
    for name, home in HOMES.items():
        assert getattr(genre_assets, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        genre_assets.nothing  # noqa: B018


HOMES = {name: home for home, names in genre_assets._HOMES.items() for name in names}


def _public() -> list[str]:
    """The public names, and the public methods and properties of the classes that are our own."""
    found = []
    for name in genre_assets.__all__:
        thing, path = getattr(genre_assets, name), f"{HOMES[name]}.{name}"
        found.append(path)
        if inspect.isclass(thing):
            own = {n: m for one in thing.__mro__ if one is not object for n, m in vars(one).items()}
            found += [f"{path}.{n}" for n, m in own.items() if not n.startswith("_") and _documented(m)]
    return sorted(found)


def _documented(member: object) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)


@pytest.mark.parametrize("path", _public())
def test_a_public_name_says_what_it_takes_and_gives(path: str) -> None:
    """By numpydoc: no docstring, a parameter that is missing, unknown or without type or words, no returns."""
    wanted = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "YD01", "SS01"}
    assert [(code, said) for code, said in validate(path)["errors"] if code in wanted] == []


@pytest.mark.parametrize("name", genre_assets.__all__)
def test_the_examples_of_public_names_run(name: str) -> None:
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(getattr(genre_assets, name), name):
        assert runner.run(test).failed == 0, test.name


def test_features_of_samples_by_the_public_name() -> None:
    sound = np.sin(np.arange(3 * 22050, dtype=np.float32) / 20)
    assert genre_assets.extract(sound, 22050, feature_set="gtzan37").shape == (37,)


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import genre_assets; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30  # typing and importlib; NumPy alone would be a hundred


def test_its_types_are_for_users_too_and_its_version_is_said() -> None:
    assert (Path(genre_assets.__file__).parent / "py.typed").exists()
    done = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"genre-assets {version('genre-assets')}\n"
