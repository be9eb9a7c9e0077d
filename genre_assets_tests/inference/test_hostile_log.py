"""Hostile requests to a real server: the prediction log goes on, and only the ensemble's own answers are rows of it."""

import json
import re
import stat
import urllib.request
import uuid
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from genre_assets.inference.answers import Facts, ServedBy
from genre_assets.inference.request_log import read
from genre_assets.serving.alerts import sources
from genre_assets.triton.protocol import (
    AUDIO,
    ENSEMBLE,
    ERROR,
    FACTS,
    FEATURES,
    POST_PROCESSOR,
    PRE_PROCESSOR,
    PREDICTOR,
    PYTHON_MODELS,
    SCORES,
    SEAL_KEY,
    SERVED_BY,
)
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def fresh_log(live: LiveStack) -> None:
    """The first release serves, and the log is empty."""
    live.fresh_log()


def gauges(live: LiveStack) -> dict[str, float]:
    """What the server tells Prometheus about the log."""
    with urllib.request.urlopen(f"http://{live.settings.triton_metrics}/metrics") as answer:
        return sources.gauges(answer.read().decode())


def unsealed(live: LiveStack) -> float:
    """How many requests to inner models the server says that it refused."""
    with urllib.request.urlopen(f"http://{live.settings.triton_metrics}/metrics") as answer:
        found = re.findall(r"(?m)^genre_unsealed_requests_total\S* (\S+)$", answer.read().decode())
    return sum(map(float, found))


def rows_of(live: LiveStack, request_id: str) -> list[dict[str, Any]]:
    return live.database.rows("SELECT * FROM served_requests WHERE request_id = %s", (request_id,))


def ask(live: LiveStack, items: list[bytes], request_id: str) -> Any:
    """One request to the ensemble through the plain client of Triton."""
    return infer(live, ENSEMBLE, {AUDIO: texts(items)}, request_id)


def texts(values: list[bytes]) -> Any:
    return np.array(values, dtype=object).reshape(-1, 1)


def infer(live: LiveStack, model: str, tensors: dict[str, Any], request_id: str) -> Any:
    """One request to the ensemble, or to a step of it."""
    with grpc.InferenceServerClient(live.settings.triton_grpc) as client:
        inputs = []
        for name, values in tensors.items():
            kind = "BYTES" if values.dtype == object else "FP32"
            inputs.append(grpc.InferInput(name, list(values.shape), kind).set_data_from_numpy(values))
        name = live.model(model) if model in PYTHON_MODELS else model
        return client.infer(name, inputs, request_id=request_id, client_timeout=60)


def step_by_step(live: LiveStack, item: bytes, request_id: str) -> dict[str, Any]:
    """What the post-processor is given for an item, got from the steps before it one by one."""
    first = infer(live, PRE_PROCESSOR, {AUDIO: texts([item])}, request_id)
    features = first.as_numpy(FEATURES)
    second = infer(live, PREDICTOR, {FEATURES: features}, request_id)
    return {
        FEATURES: features,
        FACTS: first.as_numpy(FACTS),
        SCORES: second.as_numpy(SCORES),
        SERVED_BY: second.as_numpy(SERVED_BY),
    }


def test_items_and_ids_that_no_table_can_hold_cost_no_other_row(live: LiveStack) -> None:
    poison, good = f"a\0b{uuid.uuid4()}", str(uuid.uuid4())
    ask(live, [b"s3://genre-raw/a\0b", clip(1)], str(uuid.uuid4()))
    ask(live, [b"s3://genre-raw/\xed\xa0\x80"], poison)
    ask(live, [clip(1)], good)
    until(lambda: len(rows_of(live, good)) == 1, "the row of the good client", 20)
    until(lambda: len(read(live.database, answered_only=False)) == 4, "the rows of the others", 20)
    until(lambda: gauges(live)["genre_log_backlog_bytes"] == 0, "the backlog is 0 again, without traffic", 10)


def test_a_request_id_that_is_too_long_is_an_error_of_each_item(live: LiveStack) -> None:
    answer = ask(live, [clip(1), clip(2)], "x" * 1_000_000)
    assert [text.decode().partition(":")[0] for text in answer.as_numpy(ERROR).reshape(-1)] == ["bad_request_id"] * 2
    until(lambda: len(read(live.database, answered_only=False)) == 2, "the rows", 20)
    frame = read(live.database, answered_only=False)
    assert set(frame["error_code"]) == {"bad_request_id"}
    assert max(map(len, frame["request_id"])) <= 200


def test_what_a_client_invents_for_the_inner_models_is_refused_and_in_no_row(live: LiveStack) -> None:
    before = unsealed(live)
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    honest = step_by_step(live, clip(1), mine)
    facts = Facts(fingerprint="f" * 64).encode()
    served = ServedBy("xgboost", 99_999_999_999, "champion", 1.0, ("rock", "pop")).encode()
    line = honest[FACTS][0, 0].partition(b"\n")[0] + b"\n"
    changed = honest[FEATURES] + np.float32(1)
    forgeries = [
        (mine, honest | {FACTS: texts([facts]), SERVED_BY: texts([served])}),  # bare, as before there were seals
        (mine, honest | {FACTS: texts([line + facts])}),
        (mine, honest | {SERVED_BY: texts([line + served])}),
        (mine, honest | {SERVED_BY: honest[FACTS]}),
        (mine, honest | {FEATURES: changed}),
        (mine, honest | {FEATURES: changed, **sealed_scores(live, changed, mine)}),  # the predictor signs any features
        (mine, honest | {SCORES: honest[SCORES][:, ::-1].copy()}),
        (other, honest),  # a replay
        ("", honest),
    ]
    for request_id, tensors in forgeries:
        with pytest.raises(InferenceServerException, match="ask genre_ensemble"):
            infer(live, POST_PROCESSOR, tensors, request_id)
    until(lambda: unsealed(live) - before == len(forgeries), "each is counted", 10)
    ask(live, [clip(2)], other)
    until(lambda: len(read(live.database, answered_only=False)) > 0, "the row of the ensemble's own answer", 20)
    assert list(read(live.database, answered_only=False)["request_id"]) == [other]
    assert stat.S_IMODE((live.settings.home / SEAL_KEY).stat().st_mode) == 0o600


def sealed_scores(live: LiveStack, features: Any, request_id: str) -> dict[str, Any]:
    """Scores of any features, from the predictor itself."""
    answer = infer(live, PREDICTOR, {FEATURES: features}, request_id)
    return {SCORES: answer.as_numpy(SCORES), SERVED_BY: answer.as_numpy(SERVED_BY)}


@pytest.mark.parametrize("request_id", ["", "1", "a b/ü\U0001f3b5", "1ffdf4a7-25cf-4b7c-ae75-aa2aa81fe8f0"])
def test_the_ensemble_hands_each_request_id_unchanged_to_its_steps(live: LiveStack, request_id: str) -> None:
    assert list(ask(live, [clip(1), clip(2)], request_id).as_numpy(ERROR).reshape(-1)) == [b"", b""]
    assert over_http(live, clip(1), request_id) == ""
    if request_id:
        until(lambda: len(rows_of(live, request_id)) >= 2, "the rows", 20)
    else:  # its rows have an id that was made for them
        assert rows_of(live, "") == []


def over_http(live: LiveStack, item: bytes, request_id: str) -> str:
    """The error of an item that is asked by HTTP; empty if it is answered."""
    content = len(item).to_bytes(4, "little") + item
    parameters = {"binary_data_size": len(content)}
    asked = {
        "id": request_id,
        "inputs": [{"name": AUDIO, "shape": [1, 1], "datatype": "BYTES", "parameters": parameters}],
        "outputs": [{"name": ERROR, "parameters": {"binary_data": False}}],
    }
    head = json.dumps(asked).encode()
    url = f"http://{live.settings.triton_http}/v2/models/{ENSEMBLE}/infer"
    request = urllib.request.Request(url, head + content, {"Inference-Header-Content-Length": str(len(head))})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["outputs"][0]["data"][0])
