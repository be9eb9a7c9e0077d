"""Which code travels with a Triton model: all that it needs, and nothing heavy."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.packaging import code, release
from genre_assets.packaging.ensemble import EnsembleSpec, configurations
from genre_assets.triton.protocol import ENSEMBLE, PYTHON_MODELS
from genre_assets_tests.packaging.test_config import SPEC

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


def contract(spec: EnsembleSpec) -> str:
    return release.contract_of(configurations(spec))


def test_other_models_are_of_the_same_contract() -> None:
    assert contract(replace(SPEC, champion=7, fallback=None)) == contract(SPEC)


@pytest.mark.parametrize(
    "changed",
    [
        {"labels": ("blues", "polka")}, {"feature_set": "gtzan37"}, {"feature_set_version": "2"}, {"columns": 6}, {"segments": 2},
        {"offset": "middle"}, {"environment": "abd"}, {"max_batch": 8},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_whatever_the_steps_must_agree_in_is_of_the_contract(changed: dict[str, object]) -> None:
    assert contract(replace(SPEC, **changed)) != contract(SPEC)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", PYTHON_MODELS)
def test_the_code_of_each_step_is_of_the_contract(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, before = code.model_files, contract(SPEC)
    monkeypatch.setattr(
        release, "model_files", lambda name: honest(name) | ({"genre_assets/new.py": b""} if name == model else {})
    )
    assert contract(SPEC) != before


def test_an_ensemble_asks_the_steps_of_its_contract_only() -> None:
    made = configurations(SPEC, "1a2b3c4d")
    assert "predictor_1a2b3c4d" in made
    assert set(made) == {ENSEMBLE, *(f"{step}_1a2b3c4d" for step in PYTHON_MODELS)}
    assert {step.model for step in made[ENSEMBLE].steps} == set(made) - {ENSEMBLE}
