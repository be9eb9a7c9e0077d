"""Which code travels with a Triton model: all that it needs, and nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging import code
from genre_assets.triton.protocol import PYTHON_MODELS

HEAVY = ("dagster", "pandas", "mlflow", "sklearn", "evidently", "librosa", "matplotlib", "pyarrow", "tritonclient")


@pytest.mark.parametrize("model", PYTHON_MODELS)
def test_a_models_files_import_on_their_own_and_pull_in_nothing_heavy(model: str, tmp_path: Path) -> None:
    for path, data in code.model_files(model).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "triton_python_backend_utils.py").write_text("")
    script = f"import sys, model; print([m for m in {HEAVY} if m in sys.modules]); import genre_assets; print(genre_assets.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    heavy, origin = done.stdout.splitlines()
    assert heavy == "[]"
    assert origin.startswith(str(tmp_path))


def test_a_change_elsewhere_ships_nothing_new() -> None:
    shipped = {path for model in PYTHON_MODELS for path in code.model_files(model)}
    assert {"genre_assets/audio/extract.py", "genre_assets/audio/dsp/kernel.c"} <= shipped
    assert not [
        p for p in shipped if "packaging" in p or "assets.py" in p or p.endswith(("client.py", "definitions.py"))
    ]


def test_imports_for_type_checking_only_are_not_followed(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text(
        "from typing import TYPE_CHECKING\nfrom genre_assets import genres\nif TYPE_CHECKING:\n"
        "    from genre_assets.packaging import release\ndef f():\n    from genre_assets.errors import BadInput\n"
    )
    assert code.closure(source) == ["genre_assets", "genre_assets.errors", "genre_assets.genres"]


def test_an_import_that_is_not_there_fails_the_release(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text("import genre_assets.no_such_module\n")
    with pytest.raises(PermanentFailure, match="no_such_module"):
        code.closure(source)
