"""Hostile requests to a real server: the prediction log goes on, and only the ensemble's own answers are rows of it."""

import urllib.request
import uuid
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc

from genre_assets.serving import alert_sources
from genre_assets.serving.live import go_live
from genre_assets.serving.prediction_log import read
from genre_assets.serving.protocol import AUDIO, ENSEMBLE, ERROR
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def first_release(live: LiveStack) -> None:
    """The first release serves, and the log is empty."""
    live.store.write_json(live.settings.serving_bucket, "releases/current.json", {"id": live.releases[0].id})
    go_live(live.settings, live.store, live.control, live.client, lambda: "champion")
    read(live.database)
    live.database.execute("TRUNCATE served_requests")


def gauges(live: LiveStack) -> dict[str, float]:
    """What the server tells Prometheus about the log."""
    with urllib.request.urlopen(f"http://{live.settings.triton_metrics}/metrics") as answer:
        return alert_sources.gauges(answer.read().decode())


def rows_of(live: LiveStack, request_id: str) -> list[dict[str, Any]]:
    return live.database.rows("SELECT * FROM served_requests WHERE request_id = %s", (request_id,))


def ask(live: LiveStack, items: list[bytes], request_id: str, model: str = ENSEMBLE) -> Any:
    """One request through the plain client of Triton."""
    with grpc.InferenceServerClient(live.settings.triton_grpc) as client:
        tensor = grpc.InferInput(AUDIO, [len(items), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(items, dtype=object).reshape(-1, 1))
        return client.infer(model, [tensor], request_id=request_id, client_timeout=60)


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
