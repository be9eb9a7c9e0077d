"""The main job on the real services: what a user sees, asks and changes after `make demo`."""

import csv
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from genre_assets.database import Database
from genre_assets.demo.instruments import RATE
from genre_assets.demo.synthetic import compose
from genre_assets.demo.traffic import wav_bytes
from genre_assets.genres import GENRES
from genre_assets.models.mlflow.registry import ModelRegistry
from genre_assets.stack.services import graphql
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.sync import GenreClient
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]

ASSETS = (
    "raw_audio", "features", "training_set", "tuned_xgboost", "tuned_random_forest", "tuned_k_neighbors",
    "champion_models", "conda_pack", "triton_repo", "live_ensemble", "served_requests", "drift_reports",
)  # fmt: skip


def materialised(stack: Stack) -> dict[str, float]:
    """Asset -> time of its newest materialisation."""
    nodes = graphql.query(
        stack.settings.dagster_url, "{assetNodes {assetKey {path} assetMaterializations(limit: 1) {timestamp}}}"
    )["assetNodes"]
    return {
        node["assetKey"]["path"][0]: float(node["assetMaterializations"][0]["timestamp"])
        for node in nodes
        if node["assetMaterializations"]
    }


def test_the_story_goes_to_the_fallback_and_back_says_what_it_left_out_and_ends_its_settings(stack: Stack) -> None:
    for told in ("fallback serves after", "champion serves after", "serves now", "objective", "Triton metrics"):
        assert told in stack.told
    assert "left out: notes/: 1 file in a folder that is no label's" in stack.told
    assert "8. The story's settings end" in stack.told
    assert f"{stack.settings.window_size} distinct items (GENRE_WINDOW_SIZE)" in stack.told


def test_every_asset_of_the_flow_is_materialised(stack: Stack) -> None:
    until(lambda: set(ASSETS) <= set(materialised(stack)), f"materialised: {ASSETS}", 30)


def test_the_route_moved_exactly_twice_and_both_moves_are_audited_with_reasons(stack: Stack) -> None:
    moves = [
        move for move in stack.json("history", "--json") if move["subject"] == "route" and move["actor"] != "build"
    ]
    assert [move["moved_to"] for move in reversed(moves)][-2:] == ["fallback", "champion"]
    assert all(move["reason"] for move in moves)


def test_status_as_json_names_every_service_its_address_and_the_route(stack: Stack) -> None:
    found = stack.json("status", "--json")
    assert (found["route"], found["fallback"]) == ("champion", True)
    services = found["services"]
    assert {"s3", "postgres", "mlflow", "triton", "triton-door", "dagster"} <= set(services)
    assert all(service["healthy"] for service in services.values())
    assert services["triton"].keys() >= {"grpc", "http", "metrics"}
    assert services["mlflow"]["url"] == stack.settings.mlflow_url


def test_a_grpc_client_gets_an_answer_for_each_item_in_order(stack: Stack) -> None:
    good = wav_bytes(compose("metal", 900, seed=1, seconds=5).astype(np.float32), RATE)
    items = [
        good,
        b"not audio",
        f"s3://{stack.settings.raw_bucket}/rock/rock.00000.synthetic-7.wav".encode(),
        b"s3://elsewhere/x.wav",
    ]
    audio = tritonclient.grpc.InferInput("AUDIO", [len(items), 1], "BYTES")
    audio.set_data_from_numpy(np.array(items, dtype=object).reshape(-1, 1))
    with tritonclient.grpc.InferenceServerClient(stack.settings.triton_grpc) as client:
        answer = client.infer("genre_ensemble", [audio])
    errors = [error.decode() for error in answer.as_numpy("ERROR").ravel()]
    assert [bool(error) for error in errors] == [False, True, False, True]
    assert "undecodable" in errors[1].lower() or "unsupported" in errors[1].lower()
    labels = [label.decode() for label in answer.as_numpy("LABEL").ravel()]
    assert labels[0] in GENRES
    assert labels[2] in GENRES
    probabilities = answer.as_numpy("PROBABILITIES")
    assert probabilities.shape == (4, len(GENRES))
    assert probabilities[[0, 2]].sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert answer.as_numpy("VERSION").ravel()[0] >= 1


def test_an_http_client_gets_the_same_answer_as_a_grpc_client(stack: Stack) -> None:
    item = np.array([[f"s3://{stack.settings.raw_bucket}/jazz/jazz.00001.synthetic-7.wav".encode()]], dtype=object)
    answers = []
    for module, address in (
        (tritonclient.grpc, stack.settings.triton_grpc),
        (tritonclient.http, stack.settings.triton_http),
    ):
        audio = module.InferInput("AUDIO", [1, 1], "BYTES")
        audio.set_data_from_numpy(item)
        with module.InferenceServerClient(address) as client:
            answers.append(client.infer("genre_ensemble", [audio]).as_numpy("PROBABILITIES"))
    np.testing.assert_array_equal(*answers)


def test_predict_prints_one_json_object_a_line_and_fails_when_an_item_fails(stack: Stack, tmp_path: Path) -> None:
    good = min((stack.audio / "pop").iterdir())
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF nothing")
    done = stack.command("predict", str(good), str(bad), "--json", check=False)
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [str(good), str(bad)]
    assert lines[0]["error"] == ""
    assert set(lines[0]["probabilities"]) == set(GENRES)
    assert lines[1]["error"]
    assert stack.command("predict", str(good)).returncode == 0


@pytest.mark.long
def test_a_person_can_promote_and_take_back_with_a_reason(stack: Stack) -> None:
    stack.command("promote", "fallback", "--reason", "a test")
    try:
        assert stack.json("status", "--json")["route"] == "fallback"
        newest = stack.json("history", "--json")[0]
        assert (newest["moved_to"], newest["reason"], newest["actor"]) == ("fallback", "a test", "person")
    finally:
        stack.command("promote", "champion", "--reason", "the test is over")
    assert stack.json("status", "--json")["route"] == "champion"


def test_audio_dropped_into_s3_by_hand_reaches_exactly_its_genre_and_then_triton(stack: Stack) -> None:
    settings = stack.settings
    store = ObjectStore(s3_client(settings))
    part = "features/{}/genre={}/part.parquet"
    before = {
        genre: store.get_bytes(settings.features_bucket, part.format(settings.feature_set, genre)) for genre in GENRES
    }
    key = "reggae/dropped by hand.wav"
    store.put_bytes(settings.raw_bucket, key, wav_bytes(compose("reggae", 901, seed=1).astype(np.float32), RATE))

    def in_features() -> bool:
        return key in set(
            store.read_parquet(settings.features_bucket, part.format(settings.feature_set, "reggae"))["key"]
        )

    until(in_features, "the dropped file's features")
    others = [genre for genre in GENRES if genre != "reggae"]
    after = {
        genre: store.get_bytes(settings.features_bucket, part.format(settings.feature_set, genre)) for genre in others
    }
    assert after == {genre: before[genre] for genre in others}
    versions = served_versions(stack)
    stack.command("run", "build")
    assert served_versions(stack) != versions


def served_versions(stack: Stack) -> set[str]:
    """Versions of the predictor in Triton's live repository."""
    return {folder.name for folder in stack.settings.repository.glob("predictor*/*") if folder.name.isdigit()}


def test_nothing_that_the_stack_keeps_or_serves_is_a_pickle(stack: Stack) -> None:
    """Every object of MLflow and of serving (but the packed environment, other people's code) and what Triton loads."""
    settings = stack.settings
    store = ObjectStore(s3_client(settings))
    kept = {
        f"{bucket}/{entry.key}": store.get_bytes(bucket, entry.key)
        for bucket in (settings.mlflow_bucket, settings.serving_bucket)
        for entry in store.list(bucket)
        if not entry.key.startswith("environments/")
    }
    live = {str(p): p.read_bytes() for p in settings.repository.rglob("*") if p.is_file() and not p.is_symlink()}
    assert any(name.endswith("model.onnx") for name in kept)
    assert any(name.endswith("config.pbtxt") for name in live)
    for name, content in {**kept, **live}.items():
        assert not name.endswith((".pkl", ".pickle", ".joblib", ".cloudpickle")), name
        assert content[:1] != b"\x80", f"{name} starts like a pickle"


def test_every_answer_is_logged(stack: Stack) -> None:
    database = Database(stack.settings.database_url.get_secret_value())
    count = "SELECT count(*) AS n FROM served_requests WHERE request_id = 'logged-once'"
    audio = tritonclient.grpc.InferInput("AUDIO", [2, 1], "BYTES")
    good = wav_bytes(compose("blues", 902, seed=1, seconds=4).astype(np.float32), RATE)
    audio.set_data_from_numpy(np.array([[good], [b"bad"]], dtype=object))
    with tritonclient.grpc.InferenceServerClient(stack.settings.triton_grpc) as client:
        client.infer("genre_ensemble", [audio], request_id="logged-once")
    until(lambda: database.rows(count)[0]["n"] == 2, "both rows", 20)


def test_items_of_a_request_without_an_id_are_logged_under_one_that_a_label_can_name(stack: Stack) -> None:
    database = Database(stack.settings.database_url.get_secret_value())
    known = {row["request_id"] for row in database.rows("SELECT request_id FROM served_requests")}
    assert "" not in known
    audio = tritonclient.grpc.InferInput("AUDIO", [2, 1], "BYTES")
    audio.set_data_from_numpy(np.array([[b"two"], [b"items"]], dtype=object))
    with tritonclient.grpc.InferenceServerClient(stack.settings.triton_grpc) as client:
        client.infer("genre_ensemble", [audio])

    def added() -> list[str]:
        rows = database.rows("SELECT request_id FROM served_requests")
        return [row["request_id"] for row in rows if row["request_id"] not in known]

    until(lambda: len(added()) == 2, "both rows", 20)
    assert len(set(added())) == 1
    assert uuid.UUID(added()[0])


def test_a_prefix_of_the_bucket_is_answered_by_one_command_and_is_no_clients_traffic(stack: Stack) -> None:
    settings = stack.settings
    database = Database(settings.database_url.get_secret_value())
    count = "SELECT count(*) AS n FROM served_requests"
    before = database.rows(count)
    done = stack.command("batch", "rock/")
    assert "batch: done" in done.stderr
    store = ObjectStore(s3_client(settings))
    (answers,) = [
        e.key for e in store.list(settings.serving_bucket, "predictions/") if e.key.endswith("answers.parquet")
    ]
    rows = store.read_parquet(settings.serving_bucket, answers)
    assert len(rows) >= 4
    assert set(rows["error"]) == {""}
    assert database.rows(count) == before


def test_a_run_that_fails_says_which_step_failed_and_why_and_where_all_of_it_is(stack: Stack) -> None:
    failed = stack.command("batch", "no/such/", check=False)
    said = " ".join(failed.stderr.split())
    assert failed.returncode == 1
    assert "did not succeed: batch_predictions" in said
    assert "no audio is under s3://genre-raw/no/such/" in said
    assert f"All of it: {stack.settings.dagster_url}/runs/" in said


@pytest.mark.long
def test_a_person_can_roll_back_to_another_version_with_one_command(stack: Stack) -> None:
    """Another model answers then, and the first one again after the way back."""
    registry = ModelRegistry.from_settings(stack.settings)
    champion, fallback = registry.version("champion"), registry.version("fallback")
    assert champion is not None
    assert fallback is not None
    other = next(v for v in registry.versions() if v.family not in {champion.family, fallback.family, "vote"})
    refused = stack.command("rollback", "999", "--reason", "a test", check=False)
    assert refused.returncode == 1
    assert "there is no version 999" in refused.stderr
    done = stack.command("rollback", str(other.version), "--reason", "it was better")
    assert f"champion is now version {other.version} ({other.family})" in done.stderr
    assert answering(stack) == other.version
    back = stack.command("rollback", str(champion.version), "--reason", "it was not")
    assert f"champion is now version {champion.version}" in back.stderr
    assert answering(stack) == champion.version
    moves = [move for move in stack.json("history", "--json") if move["subject"] == "champion"]
    assert [(m["moved_to"], m["reason"]) for m in moves[:2]] == [
        (str(champion.version), "it was not"),
        (str(other.version), "it was better"),
    ]
    assert "already" in stack.command("rollback", str(champion.version), "--reason", "again").stderr


def answering(stack: Stack) -> int:
    """The version that answers a client now."""
    with GenreClient(stack.settings.triton_grpc) as client:
        (answer,) = client.predict([wav_bytes(compose("metal", 901, seed=1, seconds=5).astype(np.float32), RATE)])
    assert answer.error == ""
    return answer.version


def test_clips_worth_a_label_are_listed_and_labels_are_taken_back(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "review.csv"
    stack.command("review", str(table), "--limit", "6")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) <= 6
    for row in rows:
        row["genre"] = "jazz"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert f"{len(rows)} labels sent" in stack.command("review", str(table), "--take").stdout


def test_past_windows_are_judged_again_with_one_command(stack: Stack) -> None:
    printed = stack.command("backfill").stdout.splitlines()
    assert len(printed) >= 5
    assert any(": detected: " in line for line in printed)


def test_a_job_that_is_not_there_is_named(stack: Stack) -> None:
    done = stack.command("run", "nothing", check=False)
    assert done.returncode == 1
    assert "there is no job 'nothing'" in done.stderr
