"""The door before a real Triton: what ended it once, and who gets past."""

import json
from http.client import HTTPConnection

import grpc
import numpy as np
import pytest
import tritonclient.http

from genre_assets.errors import PermanentFailure
from genre_assets.triton.control import TritonControl
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import server_process
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.triton.door import SERVICE, nested, pb

pytestmark = pytest.mark.stack


def test_what_ended_triton_once_is_refused_and_triton_serves_on(live: LiveStack) -> None:
    server, address = server_process(live), live.settings.triton_http
    given = {"name": "AUDIO", "shape": [1, 1], "datatype": "BYTES", "data": ["s3://genre-raw/none"]}
    wants = {"inputs": [given], "outputs": [{"name": "LABEL", "parameters": {"classification": 1}}]}
    flood = (b"x" for _ in range(300_000))  # which reaches Triton in one piece, and is no JSON
    giant = {"inputs": [{"name": "FEATURES", "shape": [1, 1, 2**40], "datatype": "FP32", "data": [0.5]}]}
    for body, wanted in ((json.dumps(wants), 400), (json.dumps(giant), 400), (nested(200_000), 400), (flood, 500)):
        connection = HTTPConnection(address, timeout=60)
        connection.request(
            "POST", "/v2/models/genre_ensemble/infer", body, encode_chunked=not isinstance(body, str | bytes)
        )
        status = connection.getresponse().status
        connection.close()
        assert status == wanted
    request = pb.ModelInferRequest(model_name="genre_ensemble", raw_input_contents=[b"\1\0\0\0x"])
    request.inputs.add(name="AUDIO", datatype="BYTES", shape=[1, 1])
    request.outputs.add(name="LABEL").parameters["classification"].int64_param = 1
    with grpc.insecure_channel(live.settings.triton_grpc) as channel, pytest.raises(grpc.RpcError, match="no classes"):
        channel.unary_unary(f"{SERVICE}/ModelInfer")(request.SerializeToString(), timeout=20)
    answer = live.client.predict([clip(1)])[0]
    assert (answer.error, server_process(live)) == ("", server)


def test_classes_of_the_probabilities_are_answered_through_the_door(live: LiveStack) -> None:
    audio = tritonclient.http.InferInput("AUDIO", [1, 1], "BYTES")
    audio.set_data_from_numpy(np.array([[clip(1)]], dtype=object))
    wanted = tritonclient.http.InferRequestedOutput("PROBABILITIES", class_count=2)
    with tritonclient.http.InferenceServerClient(live.settings.triton_http) as client:
        found = client.infer(
            "genre_ensemble", [audio], outputs=[wanted],
            request_compression_algorithm="gzip", response_compression_algorithm="deflate",
        )  # fmt: skip
    best, second = (float(entry.split(b":")[0]) for entry in found.as_numpy("PROBABILITIES").reshape(-1))
    probabilities = sorted(live.client.predict([clip(1)])[0].probabilities.values())
    assert [best, second] == pytest.approx(probabilities[:-3:-1], abs=1e-5)


def test_nobody_gets_an_inference_past_the_door(live: LiveStack) -> None:
    past = TritonControl(live.settings.triton_inner_http)
    assert past.live()
    with pytest.raises(PermanentFailure, match="restricted"):
        past.probe(clip(1))
    with grpc.insecure_channel(live.settings.triton_inner_grpc) as channel:
        for method, streams in (("ModelInfer", False), ("ModelStreamInfer", True)):
            path = f"{SERVICE}/{method}"
            with pytest.raises(grpc.RpcError, match="restricted"):
                if streams:
                    list(channel.stream_stream(path)(iter([b""]), timeout=20))
                else:
                    channel.unary_unary(path)(b"", timeout=20)
