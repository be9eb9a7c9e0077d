"""The whole serving path against a real Triton: answers, releases, restarts, and what must not happen."""

import hashlib
import json
import shutil
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.inference.request_log import read
from genre_assets.packaging import golden, publish, release
from genre_assets.serving.rollout.live import inspect
from genre_assets.stack.services.triton import Triton
from genre_assets.triton.control import TritonControl
from genre_assets.triton.protocol import GRPC_DOOR_HEADER, model_for
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.servers import server_of
from genre_assets_tests.serving.toys import clip, toy_model

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def first_release(live: LiveStack) -> None:
    """Every test starts with the first release live and the champion serving."""
    release_of_the_session = live.releases[0]
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": release_of_the_session.id})
    live.serve("champion")


def test_answers_are_those_of_the_offline_path(live: LiveStack) -> None:
    clips = [clip(i) for i in range(10)]
    offline = golden.expected(clips, live.models[3], live.releases[0].spec)
    for given, wanted in zip(live.client.predict(clips), offline, strict=True):
        assert given.label == wanted.label
        assert (given.model, given.version, given.error) == ("xgboost", 3, "")
        np.testing.assert_allclose(list(given.probabilities.values()), wanted.probabilities, atol=1e-5)


def test_bad_items_have_their_own_errors_and_the_rest_their_answers(live: LiveStack) -> None:
    live.store.put_bytes("genre-raw", "rock/one.wav", clip(1))
    items: list[bytes | str] = [
        clip(1), b"rubbish" * 30, "s3://genre-raw/rock/one.wav", "s3://genre-mlflow/x", "s3://genre-raw/none.wav",
        b"/etc/passwd", b"\0" * (5 * 2**20), clip(2, seconds=0.2), b"", clip(1),
    ]  # fmt: skip
    answers = live.client.predict(items)
    codes = [a.error.partition(":")[0] for a in answers]
    assert codes == [
        "", "undecodable", "", "bucket_not_allowed", "not_found", "unsupported", "too_large", "too_short", "empty", "",
    ]  # fmt: skip
    assert answers[0].probabilities == answers[2].probabilities == answers[9].probabilities
    assert [a.label == "" for a in answers] == [code != "" for code in codes]


def test_every_item_is_a_row_with_what_drift_needs(live: LiveStack) -> None:
    items = [clip(900), b"broken" * 99]
    live.client.predict(items)
    found = wait_for_rows(live, {golden_fingerprint(items[0])})
    row = found.iloc[0]
    assert (row["route"], row["version"], row["model"], row["item"]) == ("champion", 3, "xgboost", 0)
    assert len(row["features"]) == len(json.loads((live.models[3] / "manifest.json").read_text())["columns"])
    assert row["decode_ms"] > 0
    assert row["extract_ms"] > 0


def test_probes_are_answered_and_not_logged(live: LiveStack) -> None:
    probe, after = clip(901), clip(902)
    assert live.client.predict([probe], log=False)[0].error == ""
    live.client.predict([after])
    wait_for_rows(live, {golden_fingerprint(after)})
    assert golden_fingerprint(probe) not in set(read(live.database)["fingerprint"])


def test_a_new_release_is_switched_in_whole_and_only_what_changed_is_loaded(live: LiveStack, tmp_path: Path) -> None:
    models = {**live.models, 7: toy_model(tmp_path / "m7", version=7, family="k_neighbors", seed=7)}
    made = live.build(models, {"champion": 7, "fallback": 4}, "second")
    before = stub_processes(live)
    done = live.serve("champion")
    assert (done.published, done.version, live.repository.release) == (True, 7, made.id)
    answer = live.client.predict([clip(1)])[0]
    assert (answer.model, answer.version) == ("k_neighbors", 7)
    assert stub_processes(live)["pre_processor"] == before["pre_processor"]
    assert inspect(live.settings, live.store, live.control, live.client).passed


def test_nothing_is_touched_when_it_serves_already(live: LiveStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.control, "load", lambda model: pytest.fail("it was loaded again"))
    root = live.settings.repository.parent
    files = {p: p.lstat().st_mtime_ns for p in root.rglob("*") if "spool" not in p.parts}
    done = live.serve("champion")
    assert not done.published
    after = {p: p.lstat().st_mtime_ns for p in root.rglob("*") if "spool" not in p.parts}
    assert after == files | {root / "repository.lock": after[root / "repository.lock"]}


def test_a_release_that_does_not_load_leaves_the_one_before_serving(live: LiveStack, tmp_path: Path) -> None:
    folder = toy_model(tmp_path / "m8", version=8, family="xgboost", seed=8)
    good = live.build({**live.models, 8: folder}, {"champion": 8, "fallback": 4}, "third")
    sabotage(live, good, "8/model.py", b"raise RuntimeError('deliberately broken')\n")
    with pytest.raises(PermanentFailure, match=rf"{live.releases[0].id} serves on"):
        live.serve("champion")
    assert live.repository.release == live.releases[0].id
    assert live.client.predict([clip(1)])[0].version == 3
    assert live.control.route() == "champion"


def test_a_release_that_answers_otherwise_than_offline_leaves_the_one_before_serving(
    live: LiveStack, tmp_path: Path
) -> None:
    folder = toy_model(tmp_path / "m9", version=9, family="xgboost", seed=10)
    made = live.build({**live.models, 9: folder}, {"champion": 9, "fallback": 4}, "fourth")
    for entry in made.golden:
        if entry["version"] == 9 and entry["label"]:
            entry["label"] = "reggae" if entry["label"] != "reggae" else "rock"
    rewrite(live, made)
    with pytest.raises(PermanentFailure, match="answers otherwise than offline"):
        live.serve("champion")
    assert live.client.predict([clip(1)])[0].version == 3
    assert not inspect(live.settings, live.store, live.control, live.client).passed


def test_a_damaged_release_is_not_taken(live: LiveStack, tmp_path: Path) -> None:
    folder = toy_model(tmp_path / "m11", version=11, family="xgboost", seed=11)
    made = live.build({**live.models, 11: folder}, {"champion": 11, "fallback": 4}, "fifth")
    live.store.put_bytes(
        live.settings.serving_bucket, f"releases/{made.id}/{of_predictor(made, '11/model.onnx')}", b"damaged"
    )
    with pytest.raises(PermanentFailure, match="damaged"):
        live.serve("champion")
    assert live.repository.release == live.releases[0].id


def test_the_route_switches_and_is_kept_on_disk(live: LiveStack) -> None:
    switch = live.serve("fallback")
    assert (switch.route_before, switch.route, switch.version) == ("champion", "fallback", 4)
    assert live.client.predict([clip(1)])[0].version == 4
    assert live.repository.route == live.control.route() == "fallback"
    assert live.serve("fallback").route_before == "fallback"


def test_a_version_that_does_not_load_leaves_route_and_files_as_they_were(live: LiveStack) -> None:
    model = live.repository.model("predictor") / "4" / "model.onnx"
    config = live.repository.model("predictor") / "config.pbtxt"
    sound, before = model.read_bytes(), config.read_text()
    model.write_bytes(sound[:100])
    try:
        with pytest.raises(PermanentFailure, match=r"predictor_[0-9a-f]{8}/4/model.onnx is missing or damaged"):
            live.serve("fallback")
    finally:
        model.write_bytes(sound)
    assert config.read_text() == before
    assert live.control.route() == "champion"
    assert live.client.predict([clip(1)])[0].version == 3
    live.serve("fallback")
    assert live.client.predict([clip(1)])[0].version == 4


def test_a_route_that_the_release_lacks_is_refused_before_anything_changes(live: LiveStack) -> None:
    with pytest.raises(BadInput, match="has no nobody"):
        live.serve("nobody")  # type: ignore[arg-type]
    assert live.control.route() == "champion"


def test_after_a_restart_the_released_ensemble_and_its_route_serve_again(live: LiveStack) -> None:
    live.serve("fallback")
    command = Triton(live.settings).command()
    assert "--load-model=genre_ensemble" in command
    stubs = stub_processes(live)
    server = server_process(live)
    import os
    import signal

    os.kill(server, signal.SIGKILL)
    end = time.monotonic() + 60
    while not (live.control.ready() and server_process(live) != server):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert live.client.predict([clip(1)])[0].version == 4
    assert stub_processes(live) != stubs


def test_the_same_control_serves_a_server_by_url_and_its_token_is_needed(live: LiveStack) -> None:
    url = f"http://{live.settings.triton_http}"
    remote = TritonControl(url, "token-of-the-tests")
    assert remote.ready()
    assert remote.server()["version"] == "2.51.0"
    assert {m["name"] for m in remote.index() if m["state"] == "READY"} == set(live.releases[0].contents)
    stranger = TritonControl(url, "wrong")
    assert stranger.ready()
    for call in (
        stranger.index,
        lambda: stranger.load(live.model("predictor")),
        lambda: stranger.unload(live.model("predictor")),
    ):
        with pytest.raises(PermanentFailure, match="restricted"):
            call()


def test_the_labels_stand_in_the_models_configuration(live: LiveStack) -> None:
    parameters = live.control.parameters("genre_ensemble")
    assert json.loads(parameters["labels"]) == list(live.releases[0].spec.labels) == live.client.labels


def test_the_custom_metrics_are_in_prometheus_form(live: LiveStack) -> None:
    live.client.predict([clip(1), b"rubbish" * 99])
    with urllib.request.urlopen(f"http://{live.settings.triton_metrics}/metrics") as answer:
        text = answer.read().decode()
    for name in (
        "genre_predictions_total{genre=", "genre_item_errors_total{reason=", "genre_confidence_bucket{", "genre_decode_seconds_sum",
        "genre_extract_seconds_bucket{", "genre_log_backlog_bytes", "genre_log_dropped_rows_total", "nv_inference_request_success",
    ):  # fmt: skip
        assert name in text, name
    assert 'route="champion"' in text


def test_requests_that_come_at_once_are_predicted_together(live: LiveStack) -> None:
    """Triton's own counts: batches of more than one, of requests that have one row each."""
    spec = live.releases[0].spec
    rows = np.zeros((1, spec.segments, spec.columns), np.float32)
    features = tritonclient.grpc.InferInput("FEATURES", list(rows.shape), "FP32")
    features.set_data_from_numpy(rows)
    key = {GRPC_DOOR_HEADER: live.settings.triton_door_key.get_secret_value()}
    before = merged(live)
    predictor = live.model("predictor")
    with (
        tritonclient.grpc.InferenceServerClient(live.settings.triton_inner_grpc) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(lambda _: client.infer(predictor, [features], headers=key), range(400)))
    assert {int(answer.as_numpy("VERSION").item()) for answer in answers} == {3}
    batches = merged(live) - before
    assert sum(batches[size] for size in range(2, spec.max_batch + 1)) > 0, batches


def merged(live: LiveStack) -> Counter[int]:
    """Batch size -> how often the predictor has executed one, over its versions."""
    found: Counter[int] = Counter()
    for version in live.control.statistics(live.model("predictor"))["model_stats"]:
        for batch in version.get("batch_stats", []):
            found[int(batch["batch_size"])] += int(batch["compute_infer"]["count"])
    return found


def golden_fingerprint(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wait_for_rows(live: LiveStack, fingerprints: set[str], seconds: float = 15.0):  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while True:
        frame = read(live.database)
        frame = frame[frame["fingerprint"].isin(fingerprints)]
        if set(frame["fingerprint"]) == fingerprints:
            return frame
        assert time.monotonic() < end, "the rows did not arrive"
        time.sleep(0.1)


def server_process(live: LiveStack) -> int:
    """Process id of the server behind this stack's door."""
    return server_of(live.settings)


def stub_processes(live: LiveStack) -> dict[str, set[int]]:
    """Process ids of the living stubs by step of the ensemble."""
    from genre_assets.processes import children
    from genre_assets.stack.services.triton_watchdog import model_of
    from genre_assets.triton.protocol import step_of

    found: dict[str, set[int]] = {}
    for pid, state, arguments in children(server_process(live)):
        model = step_of(model_of(arguments) or "")
        if model and state != "Z":
            found.setdefault(model, set()).add(pid)
    return found


def of_predictor(made: release.Release, path: str) -> str:
    """A file of a release, by its place in the folder of the predictor."""
    return f"models/{model_for('predictor', made.contents)}/{path}"


def sabotage(live: LiveStack, made: release.Release, path: str, data: bytes) -> None:
    """Replace a file of the predictor of a published release as if it had been built so."""
    path = of_predictor(made, path)
    made.files[path] = hashlib.sha256(data).hexdigest()
    live.store.put_bytes(live.settings.serving_bucket, f"releases/{made.id}/{path}", data)
    rewrite(live, made)


def rewrite(live: LiveStack, made: release.Release) -> None:
    publish.write_manifest(live.settings, live.store, made)
    shutil.rmtree(live.repository.releases / made.id, ignore_errors=True)
