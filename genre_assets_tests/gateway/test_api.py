"""The REST interface before a real ensemble: answers, errors as RFC 9457 says them, labels, and who may not ask."""

import json
import secrets
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from genre_assets import keys
from genre_assets.errors import BadInput
from genre_assets.gateway.app import create_app
from genre_assets.settings import load_settings
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import keep_ten
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.waiting import until

CLIP = sound_file(music(3.0))


@pytest.fixture
def http(front_door: str) -> Any:
    with httpx.Client(base_url=front_door, timeout=60) as client:
        yield client


@pytest.fixture
def bucket(live: LiveStack) -> str:
    """The raw bucket with the label set and one clip."""
    name = live.settings.raw_bucket
    live.store.ensure_buckets(name)
    keep_ten(live.store, live.settings)
    live.store.put_bytes(name, "blues/a b.wav", CLIP)
    return name


def refused(reply: httpx.Response, status: int) -> dict[str, Any]:
    """What a problem says."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), reply.text
    said: dict[str, Any] = reply.json()
    assert (said["status"], said["title"]) == (status, HTTPStatus(status).phrase)
    return said


def test_a_file_is_answered_and_its_row_is_found_by_the_request(http: httpx.Client, live: LiveStack) -> None:
    (answer,) = http.post("/v1/predict", content=CLIP, headers={"Content-Type": "audio/wav"}).json()["answers"]
    (expected,) = live.client.predict([CLIP], log=False)
    assert (answer["label"], answer["model"], answer["version"]) == (expected.label, expected.model, expected.version)
    assert answer["probabilities"] == expected.probabilities
    assert answer["confidence"] == max(expected.probabilities.values())
    where = f"/v1/predictions/{answer['request_id']}"
    until(lambda: http.get(where).status_code == HTTPStatus.OK, "the row is in the log", 30)
    (row,) = http.get(where).json()["items"]
    assert (row["label"], row["route"], row["tag"], row["format"]) == (answer["label"], "champion", "gateway", "wav")
    assert "no row" in refused(http.get("/v1/predictions/nobody"), 404)["detail"]


def test_an_answer_is_explained_by_the_training_rows_of_its_model(
    http: httpx.Client, live: LiveStack, bucket: str
) -> None:
    (answer,) = http.post("/v1/predict", content=CLIP).json()["answers"]
    where = f"/v1/predictions/{answer['request_id']}"
    until(lambda: http.get(where).status_code == HTTPStatus.OK, "the row is in the log", 30)
    said = http.get(f"{where}/explanation").json()
    assert (said["label"], said["usual"], said["neighbours"]) == (answer["label"], None, None)
    assert "cannot be compared" in said["unknown"]
    features = np.array(http.get(where).json()["items"][0]["features"], np.float32)
    rows = features * (1 + np.random.default_rng(1).normal(0, 0.2, (60, len(features)))).astype(np.float32)
    rows[7] = features
    names = json.loads(live.store.get_bytes(live.settings.serving_bucket, keys.release(live.releases[0].id)))["spec"][
        "labels"
    ]
    frame = pd.DataFrame(rows, columns=[f"f{n}" for n in range(len(features))]).assign(
        genre=[names[n % 2] for n in range(60)], recording=[f"r{n}" for n in range(60)],
        key=["blues/a b.wav" if n == 7 else f"{names[n % 2]}/{n}.wav" for n in range(60)],
        **{f"prob_{name}": 1 / len(names) for name in names},
    )  # fmt: skip
    key = keys.reference(answer["version"])
    live.store.write_parquet(live.settings.serving_bucket, key, frame)
    try:
        said = http.get(f"{where}/explanation").json()
    finally:
        live.store.delete(live.settings.serving_bucket, key)
    assert said["neighbours"][0] == {
        "label": names[1], "key": "blues/a b.wav", "address": f"s3://{bucket}/blues/a b.wav", "distance": 0.0,
    }  # fmt: skip
    assert said["neighbours"][1]["address"] == "", "no such file is there"
    assert said["usual"] > 0.5
    assert said["features"], said["unknown"]
    assert all(one["share"] > 0 for one in said["features"])
    assert "no row" in refused(http.get("/v1/predictions/nobody/explanation"), 404)["detail"]


def test_the_trace_of_the_caller_is_found_in_the_log(http: httpx.Client) -> None:
    span = f"{secrets.token_hex(16)}-{secrets.token_hex(8)}"
    for _ in range(2):  # sent again, as a proxy does: the same request
        reply = http.post("/v1/predict", content=CLIP, headers={"traceparent": f"00-{span}-01"})
        (answer,) = reply.json()["answers"]
        assert answer["request_id"] == f"{span}-0"
    where = f"/v1/predictions/{span}-0"
    until(lambda: http.get(where).status_code == HTTPStatus.OK, "the row is in the log", 30)
    assert len(http.get(where).json()["items"]) == 1
    for damaged in ("00-1-2-3", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{span}-01"):
        reply = http.post("/v1/predict", content=CLIP, headers={"traceparent": damaged})
        assert not reply.json()["answers"][0]["request_id"].startswith(span)


def test_several_files_and_addresses_are_answered_in_their_order(http: httpx.Client, bucket: str) -> None:
    files = [("file", ("a.wav", CLIP)), ("file", ("b.txt", b"no audio at all")), ("file", ("c.wav", CLIP))]
    answers = http.post("/v1/predict", files=files).json()["answers"]
    assert [answer["error"] is None for answer in answers] == [True, False, True]
    assert answers[0]["label"] == answers[2]["label"]
    addresses = {"items": [f"s3://{bucket}/blues/a b.wav", f"s3://{bucket}/blues/none.wav"]}
    answers = http.post("/v1/predict", json=addresses).json()["answers"]
    assert answers[0]["label"]
    assert answers[1]["error"].startswith("not_found: ")


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"", "application/octet-stream", 400, "the body is empty"),
        (b"no audio at all", "application/octet-stream", 422, ""),
        (b"x" * (4 * 2**20 + 1), "application/octet-stream", 413, "more than 4 MB"),
        (b'{"items": ["http://elsewhere/a.wav"]}', "application/json", 422, "items.0"),
        (b'{"items": []}', "application/json", 422, "items"),
        (b"{", "application/json", 422, "JSON"),
        (b"", "multipart/form-data; boundary=b", 400, ""),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_a_problem(
    http: httpx.Client, body: bytes, kind: str, status: int, said: str
) -> None:
    problem = refused(http.post("/v1/predict", content=body, headers={"Content-Type": kind}), status)
    assert said in problem["detail"]
    if b"no audio" in body:
        assert problem["code"] == "undecodable"


def test_labels_are_kept_whole_or_not_at_all(http: httpx.Client, live: LiveStack, bucket: str) -> None:
    (answer,) = http.post("/v1/predict", content=CLIP).json()["answers"]
    label = {"request_id": answer["request_id"], "item": 0, "label": "Blues"}
    unknown = {"labels": [label, {**label, "label": "polka"}], "by": "ann"}
    before = [entry.key for entry in live.store.list(bucket, "labels/")]
    assert "'polka' is no label" in refused(http.post("/v1/labels", json=unknown), 422)["detail"]
    assert [entry.key for entry in live.store.list(bucket, "labels/")] == before
    kept = http.post("/v1/labels", json={"labels": [label], "by": "ann"})
    assert kept.status_code == HTTPStatus.CREATED
    lines = live.store.get_bytes(bucket, kept.json()["key"]).decode().splitlines()
    assert lines == ["request_id,item,genre,labelled_by", f"{answer['request_id']},0,blues,ann"]
    assert http.get("/v1/labels").json()["labels"][0] == "blues"


def test_a_sound_is_played_from_any_place_and_from_no_other_bucket(http: httpx.Client, bucket: str) -> None:
    address = {"address": f"s3://{bucket}/blues/a b.wav"}
    whole = http.get("/v1/audio", params=address)
    assert (whole.content, whole.headers["content-type"]) == (CLIP, "audio/wav")
    part = http.get("/v1/audio", params=address, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (HTTPStatus.PARTIAL_CONTENT, CLIP[100:200])
    refused(http.get("/v1/audio", params={"address": f"s3://{bucket}/none.wav"}), 404)
    for foreign in ("s3://live-serving/releases/current.json", "/etc/passwd", "http://elsewhere/"):
        refused(http.get("/v1/audio", params={"address": foreign}), 422)


def test_another_sites_page_may_not_ask(http: httpx.Client) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert http.post("/v1/predict", content=CLIP, headers=headers).status_code in {403, 421}
    page = http.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


def test_health_metrics_and_the_description(http: httpx.Client, bucket: str) -> None:
    health = http.get("/v1/health")
    assert {name: light["state"] for name, light in health.json().items()} == dict.fromkeys(
        ("ensemble", "database", "object_store"), "healthy"
    )
    assert 'genre_gateway_request_seconds_count{route="/v1/health",status="200"}' in http.get("/v1/metrics").text
    described = http.get("/v1/openapi.json").json()
    assert {"/v1/predict", "/v1/labels", "/v1/windows", "/v1/alerts"} <= set(described["paths"])
    assert "audio/*" in described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert "http" not in json.dumps(described["paths"])


def test_the_models_page_shows_what_serves(http: httpx.Client, live: LiveStack) -> None:
    page = http.get("/models").text
    release = live.releases[0]
    assert release.id in page
    assert "xgboost" in page
    assert page.index("champion") < page.index("random_forest")


def test_it_does_not_listen_to_strangers_without_keys_or_a_proxy() -> None:
    with pytest.raises(BadInput, match="GENRE_GATEWAY_ALLOWED_HOSTS"):
        create_app(load_settings(host="0.0.0.0", gateway_keys="never"))
