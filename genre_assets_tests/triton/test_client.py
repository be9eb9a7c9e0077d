"""The clients: batching, order, retries, deadlines, both transports, sync and asyncio."""

import asyncio
import json
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.triton.client import wire as protocol
from genre_assets.triton.client.aio import AsyncGenreClient
from genre_assets.triton.client.sync import GenreClient, Prediction, collect_items
from genre_assets.triton.client.wire import Transport
from genre_assets.triton.protocol import REQUEST_FAILED, row_id
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip


def test_items_are_split_by_number_and_by_size_and_none_is_lost() -> None:
    items: list[bytes | str] = [bytes([i]) * (i * 10) for i in range(1, 21)]
    parts = list(protocol.batches(items, 4, 500))
    assert [item for part in parts for item in part.items] == items
    assert all(len(part.items) <= 4 for part in parts)
    assert all(sum(map(len, part.items)) <= 500 for part in parts)
    assert len({part.request_id for part in parts}) == len(parts)


def test_an_item_larger_than_a_request_travels_alone() -> None:
    assert [len(p.items) for p in protocol.batches([b"a", b"b" * 99, b"c"], 4, 10)] == [1, 1, 1]


def test_request_ids_are_uuids_since_those_are_logged_once() -> None:
    (part,) = protocol.batches([b"a"], 4, 10)
    uuid.UUID(part.request_id)


def test_a_trace_names_its_requests_for_ever_too() -> None:
    span = f"{'a1' * 16}-{'b2' * 8}"
    assert protocol.span_of(f"00-{span}-01") == span
    assert row_id(f"{span}-0", 1) == row_id(f"{span}-0", 1)
    assert len({row_id(f"{span}-{n}", item) for n in range(2) for item in range(2)}) == 4
    assert row_id("1", 0) != row_id("1", 0), "many send it each time"
    with pytest.raises(BadInput, match="traceparent"):
        protocol.span_of(f"00-{'0' * 32}-{'b2' * 8}-01")


@pytest.mark.parametrize("item", ["/tmp/a.wav", "http://x/a.wav", "a.wav"])
def test_a_string_that_is_no_s3_address_is_refused_before_anything_is_sent(item: str) -> None:
    with pytest.raises(BadInput, match="s3://"):
        protocol.encode_item(item)


class Said(Exception):
    def __init__(self, status: str, message: str = "") -> None:
        super().__init__(message)
        self._status = status

    def status(self) -> str:
        return self._status


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Said("StatusCode.UNAVAILABLE"), True), (Said("503"), True), (Said("StatusCode.INTERNAL", "Stub process is not healthy"), True),
        (Said("StatusCode.INTERNAL", f"{REQUEST_FAILED}: KeyError"), False), (Said("StatusCode.INVALID_ARGUMENT", "batch-size"), False),
        (Said("400", "Request for unknown model: 'genre_ensemble' is not found"), True), (ConnectionRefusedError(), True),
        (Said("StatusCode.DEADLINE_EXCEEDED"), False), (Said("413"), False),
        (Said("StatusCode.RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)"), False),
    ],
)  # fmt: skip
def test_only_what_may_succeed_later_is_sent_again(error: Exception, again: bool) -> None:
    assert protocol.is_transient(error) is again
    assert isinstance(protocol.translated(error, "here"), TransientFailure if again else PermanentFailure)


def test_a_server_that_is_away_is_given_up_at_the_deadline() -> None:
    started = time.monotonic()
    with GenreClient("127.0.0.1:1", deadline_s=1.0) as client, pytest.raises(TransientFailure, match="did not answer"):
        client.predict([b"x"])
    assert 0.2 < time.monotonic() - started < 4


def test_folders_are_taken_file_by_file_and_a_missing_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "rock").mkdir()
    for name in ("rock/b.wav", "rock/a.wav", ".hidden"):
        (tmp_path / name).touch()
    assert collect_items([tmp_path, "s3://b/k"]) == [
        str(tmp_path / "rock/a.wav"),
        str(tmp_path / "rock/b.wav"),
        "s3://b/k",
    ]
    with pytest.raises(BadInput, match="nowhere"):
        collect_items([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no file"):
        collect_items([tmp_path / "empty"])


@pytest.mark.stack
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_both_transports_and_asyncio_give_the_same_answers_in_order(live: LiveStack, transport: Transport) -> None:
    items: list[bytes | str] = [*(clip(i) for i in range(9)), b"rubbish" * 50, clip(3)]
    wanted = live.client.predict(items, log=False)
    with GenreClient.from_settings(live.settings, transport=transport, batch=3) as client:
        assert_same(client.predict(items, log=False), wanted)

    async def ask() -> list[list[Prediction]]:
        async with AsyncGenreClient.from_settings(live.settings, transport=transport, batch=2) as client:
            return list(await asyncio.gather(*(client.predict(items) for _ in range(3))))

    for answers in asyncio.run(ask()):
        assert_same(answers, wanted)


def assert_same(answers: list[Prediction], wanted: list[Prediction]) -> None:
    assert [(a.label, a.version, a.error) for a in answers] == [(w.label, w.version, w.error) for w in wanted]
    for given, known in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(list(given.probabilities.values()), list(known.probabilities.values()), atol=1e-6)


@pytest.mark.stack
def test_nothing_asked_is_nothing_sent(live: LiveStack) -> None:
    assert live.client.predict([]) == []


@pytest.mark.stack
def test_each_source_has_its_answer_and_an_unreadable_file_an_error(live: LiveStack, tmp_path: Path) -> None:
    good, bad = tmp_path / "a.wav", tmp_path / "b.wav"
    good.write_bytes(clip(1))
    bad.write_bytes(b"no sound" * 20)
    gone = str(tmp_path / "gone.wav")
    answers = dict(live.client.predict_each([str(good), str(bad), gone], at_once=2))
    assert list(answers) == [str(good), str(bad), gone]
    assert answers[str(good)].error == ""
    assert answers[str(bad)].error.startswith("undecodable")
    assert answers[gone].error.startswith("unreadable")
    line = json.loads(json.dumps(answers[str(good)].as_dict()))
    assert set(line) == {"genre", "probabilities", "model", "version", "heard", "error", "request_id", "item"}


@pytest.mark.stack
def test_a_plain_tritonclient_asks_the_ensemble_as_the_documentation_shows(live: LiveStack) -> None:
    import tritonclient.grpc as grpcclient

    client: Any = grpcclient.InferenceServerClient(live.settings.triton_grpc)
    audio = grpcclient.InferInput("AUDIO", [2, 1], "BYTES")
    audio.set_data_from_numpy(np.array([[clip(1)], [b"rubbish" * 20]], dtype=object))
    result = client.infer("genre_ensemble", [audio], request_id="mine")
    shapes = {name: result.as_numpy(name).shape for name in ("LABEL", "PROBABILITIES", "MODEL", "VERSION", "ERROR")}
    assert shapes == {"LABEL": (2, 1), "PROBABILITIES": (2, 10), "MODEL": (2, 1), "VERSION": (2, 1), "ERROR": (2, 1)}
    assert result.as_numpy("ERROR")[0, 0] == b""
    assert not result.as_numpy("PROBABILITIES")[1].any()
    client.close()


@pytest.mark.stack
def test_a_request_above_the_servers_item_limit_is_refused_with_its_limit(live: LiveStack) -> None:
    import tritonclient.grpc as grpcclient
    from tritonclient.utils import InferenceServerException

    client: Any = grpcclient.InferenceServerClient(live.settings.triton_grpc)
    audio = grpcclient.InferInput("AUDIO", [17, 1], "BYTES")
    audio.set_data_from_numpy(np.full((17, 1), clip(1), dtype=object))
    with pytest.raises(InferenceServerException, match="<= 16"):
        client.infer("genre_ensemble", [audio])
    client.close()


@pytest.mark.stack
def test_curl_asks_with_an_address_in_json_as_the_documentation_shows(live: LiveStack) -> None:
    import urllib.request

    live.store.put_bytes("genre-raw", "rock/json.wav", clip(1))
    body = {
        "inputs": [{
            "name": "AUDIO", "datatype": "BYTES", "shape": [2, 1], "data": ["s3://genre-raw/rock/json.wav", "s3://genre-raw/no"],
        }],
    }  # fmt: skip
    url = f"http://{live.settings.triton_http}/v2/models/genre_ensemble/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
        outputs = {o["name"]: o["data"] for o in json.loads(answer.read())["outputs"]}
    assert outputs["LABEL"][0] == live.client.predict([clip(1)], log=False)[0].label
    assert outputs["LABEL"][1] == ""
    assert outputs["ERROR"] == ["", "not_found: s3://genre-raw/no is not there"]
    assert outputs["PROBABILITIES"][10:] == [0.0] * 10
