"""A model folder: what is refused at loading, and what a loaded model answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from genre_assets.audio.decoding.cut import Cut
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.models.onnx.portable import MANIFEST_FILE, MODEL_FILE, ModelManifest, load_model, sha256, vote
from genre_assets.shipped.files import PROJECT_ROOT


def write_softmax_model(folder: Path, *, columns: int = 3, claimed_columns: int | None = None) -> ModelManifest:
    """The smallest model there is: the softmax of its input."""
    node = helper.make_node("Softmax", ["features"], ["probabilities"], axis=1)
    graph = helper.make_graph(
        [node],
        "softmax",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, columns])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / MODEL_FILE)
    width = claimed_columns or columns
    manifest = ModelManifest(
        family="random_forest",
        labels=tuple("abcdefgh"[:columns]),
        feature_set="gtzan37",
        feature_set_version="1",
        columns=tuple(f"column_{i}" for i in range(width)),
        data_version="d",
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        hashes={MODEL_FILE: sha256(folder / MODEL_FILE)},
        cut=Cut(30.0, 10.0, "start", 1.0),
    )
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def test_a_manifest_survives_a_round_trip(tmp_path: Path) -> None:
    manifest = write_softmax_model(tmp_path)
    assert ModelManifest.from_json(manifest.to_json()) == manifest
    assert load_model(tmp_path).manifest == manifest


def test_a_manifest_of_a_newer_writer_is_read() -> None:
    text = '{"family": "k", "labels": ["a"], "feature_set": "f", "feature_set_version": "1", "columns": ["c"],'
    text += '"data_version": "d", "run_id": "r", "created": "now", "invented_later": 1}'
    assert ModelManifest.from_json(text).labels == ("a",)


@pytest.mark.parametrize("text", ["", "[]", '{"family": "xgboost"}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not the manifest"):
        ModelManifest.from_json(text)


def test_a_loaded_model_answers_in_float32_with_rows_that_sum_to_one(tmp_path: Path) -> None:
    write_softmax_model(tmp_path)
    answer = load_model(tmp_path).probabilities(np.eye(3, dtype=np.float32))
    assert answer.dtype == np.float32
    assert answer.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_gives_nan_and_leaves_its_neighbours_alone(tmp_path: Path, bad: float) -> None:
    write_softmax_model(tmp_path)
    rows = np.eye(3, dtype=np.float32)
    rows[1, 2] = bad
    answer = load_model(tmp_path).probabilities(rows)
    assert np.isnan(answer[1]).all()
    assert np.isfinite(answer[[0, 2]]).all()


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    write_softmax_model(tmp_path)
    assert load_model(tmp_path).probabilities(np.empty((0, 3), np.float32)).shape == (0, 3)


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    write_softmax_model(tmp_path)
    with pytest.raises(BadInput, match="rows of 3 features"):
        load_model(tmp_path).probabilities(np.zeros((2, 4), np.float32))


def test_the_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """What it would send waits in the home folder, beside a number that it knows the machine by."""
    model, home = tmp_path / "model", tmp_path / "home"
    model.mkdir()
    home.mkdir()
    write_softmax_model(model)
    program = f"from pathlib import Path; from genre_assets import load_model; load_model(Path({str(model)!r}))"
    # Nothing of the caller's environment: it is silent under CI by itself.
    subprocess.run([sys.executable, "-c", program], env={"HOME": str(home)}, cwd=PROJECT_ROOT, check=True)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model\.onnx and manifest\.json missing"):
        load_model(tmp_path)


def test_a_changed_model_file_is_refused(tmp_path: Path) -> None:
    write_softmax_model(tmp_path)
    with (tmp_path / MODEL_FILE).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(PermanentFailure, match="not the file"):
        load_model(tmp_path)


def test_a_graph_of_another_width_than_the_manifest_claims_is_refused(tmp_path: Path) -> None:
    write_softmax_model(tmp_path, claimed_columns=5)
    with pytest.raises(PermanentFailure, match="its manifest says"):
        load_model(tmp_path)


def test_the_vote_is_the_mean_of_the_segments_that_are_there() -> None:
    probabilities = np.array([[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [np.nan, np.nan]]], np.float32)
    mask = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(vote(probabilities, mask), [[0.6, 0.4], [0.1, 0.9]], rtol=1e-6)


def test_an_item_without_segments_gets_nan() -> None:
    assert np.isnan(vote(np.zeros((1, 2, 3), np.float32), np.zeros((1, 2), bool))).all()
