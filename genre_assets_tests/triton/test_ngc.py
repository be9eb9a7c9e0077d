"""A dry check that the NGC container would load the same repository.

The image cannot be pulled in the tests; what it needs is documented, and each point is checked on a real release: the
layout, the configuration, the environment as a folder and as an archive, the stub, the C library's version. The server
of the wheel is the image's own version, so a load of the copied repository, by another path and from the archive, is
the nearest thing to a start of the container.
"""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from genre_assets.packaging import release
from genre_assets.packaging.config import from_pbtxt
from genre_assets.packaging.environment.lock import Environment
from genre_assets.packaging.model_repository import model_folder
from genre_assets.processes import children
from genre_assets.settings import load_settings
from genre_assets.triton import binary
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.protocol import ENSEMBLE, PYTHON_MODELS, step_of
from genre_assets.triton.scratch import scratch_triton
from genre_assets_tests.serving.toys import clip, toy_model

pytestmark = pytest.mark.stack
UBUNTU_22_04_GLIBC = (2, 35)  # the base of tritonserver:24.10-py3
IN_THE_IMAGE = re.compile(r"lib(stdc\+\+|gcc_s|c|m|dl|rt|pthread|util)\.so\.\d+|ld-linux.*")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, execution_environment: Environment) -> Path:
    """A release as it stands in a volume: plain files, the environment's archive where the configuration looks."""
    root = tmp_path_factory.mktemp("ngc")
    models = {1: toy_model(root / "m1", version=1, family="xgboost", seed=1)}
    release.build(root / "release", load_settings(root), execution_environment, models, {"champion": 1})
    shutil.copytree(root / "release" / "models", root / "volume" / "repository")
    (root / "volume" / "environments").mkdir()
    archive = root / "volume" / "environments" / execution_environment.lock.hash
    shutil.copyfile(execution_environment.archive, archive)
    return root / "volume"


def test_every_model_has_the_documented_layout_and_a_valid_configuration(folder: Path) -> None:
    names = {path.name for path in (folder / "repository").iterdir()}
    assert {step_of(name) or name for name in names} == {ENSEMBLE, *PYTHON_MODELS}
    for name in names:
        model = folder / "repository" / name
        config = from_pbtxt((model / "config.pbtxt").read_text())
        assert config.name == name
        versions = [path for path in model.iterdir() if path.is_dir()]
        assert versions
        assert all(path.name.isdigit() for path in versions)
        assert set(map(str, config.versions)) <= {path.name for path in versions}
        if name != ENSEMBLE:
            assert all((path / "model.py").is_file() for path in versions)


def test_the_environments_path_resolves_beside_the_repository(folder: Path, execution_environment: Environment) -> None:
    for name in PYTHON_MODELS:
        model = model_folder(folder / "repository", name)
        written = from_pbtxt((model / "config.pbtxt").read_text()).parameters["EXECUTION_ENV_PATH"]
        resolved = Path(written.replace("$$TRITON_MODEL_DIRECTORY", str(model)))
        assert resolved.resolve() == (folder / "environments" / execution_environment.lock.hash).resolve()


def test_the_archive_has_at_its_root_what_the_backend_looks_for(execution_environment: Environment) -> None:
    minor = execution_environment.minor
    wanted = {
        "bin/activate",
        "bin/python3",
        f"lib/libpython{minor}.so.1.0",
        f"lib/python{minor}/os.py",
        "bin/conda-unpack",
    }
    with tarfile.open(execution_environment.archive) as tar:
        assert wanted <= set(tar.getnames())


def test_the_stub_that_travels_needs_nothing_that_environment_or_image_lack(
    folder: Path, execution_environment: Environment
) -> None:
    for name in PYTHON_MODELS:
        stub = model_folder(folder / "repository", name) / "triton_python_backend_stub"
        assert stub.stat().st_mode & 0o111
        lacking = [
            library
            for library in binary.needed_libraries(stub)
            if not IN_THE_IMAGE.fullmatch(library) and not (execution_environment.folder / "lib" / library).exists()
        ]
        assert lacking == []


def test_no_library_of_the_environment_asks_for_a_newer_c_library_than_the_images(
    execution_environment: Environment,
) -> None:
    """The wheels' libraries never do, wherever the environment was built."""
    needed = {path: glibc_needed(path) for path in execution_environment.folder.rglob("site-packages/**/*.so*")}
    assert len(needed) > 100
    assert {path: version for path, version in needed.items() if version > UBUNTU_22_04_GLIBC} == {}


def test_the_environments_python_asks_for_no_newer_c_library_than_the_images(
    execution_environment: Environment,
) -> None:
    """It is this machine's, so what it needs follows from the machine, and its archive says for which it is."""
    needed = max(glibc_needed(p) for p in execution_environment.folder.rglob("*.so*") if "site-packages" not in p.parts)
    if needed > UBUNTU_22_04_GLIBC:
        pytest.skip(f"this machine's Python needs glibc {needed}: its archive is for this distribution, as documented")


def glibc_needed(path: Path) -> tuple[int, int]:
    if path.is_symlink() or not path.is_file():
        return (0, 0)
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)", path.read_bytes())
    return max(((int(a), int(b)) for a, b in found), default=(0, 0))


def test_the_same_server_loads_the_copied_repository_from_the_archive(folder: Path) -> None:
    with scratch_triton(folder / "repository", ENSEMBLE) as server, GenreClient(server.grpc) as client:
        assert server.control.server()["version"] == binary.TRITON_VERSION
        assert client.predict([clip(1)], log=False)[0].error == ""
        arguments = [words for _, state, words in children(server.pid) if state != "Z"]
        assert arguments
        assert all(str(folder / "repository") in words.split()[0] for words in arguments), "each model's own stub runs"


def test_needed_libraries_are_read_from_the_binary() -> None:
    assert "libc.so.6" in binary.needed_libraries(binary.stub("3.11"))
    with pytest.raises(subprocess.CalledProcessError):
        binary.needed_libraries(Path(__file__))
