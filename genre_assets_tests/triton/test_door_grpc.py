"""The door over gRPC: what it passes on and back, and what it keeps from the server."""

import grpc
import pytest

from genre_assets_tests.triton.door import LARGEST_MB, SERVICE, Door, door, wants

__all__ = ["door"]  # the fixture


def test_a_grpc_call_passes_with_its_metadata_its_deadline_and_what_comes_back(door: Door) -> None:
    given = (("traceparent", "00-1"), ("x-bin", b"\x00\xff"), ("triton-grpc-protocol-door-key", "guessed"))
    message = b"x" * 3_000_000
    with door.channel() as channel:
        ask = channel.unary_unary(f"{SERVICE}/ModelInfer")
        answer, call = ask.with_call(message, timeout=30, metadata=given, compression=grpc.Compression.Gzip)
        path, arrived, metadata, left = door.inner.calls[-1]
        assert (path, arrived, answer) == (f"{SERVICE}/ModelInfer", message, b"answer:" + message[:10])
        assert (metadata["traceparent"], metadata["x-bin"]) == ("00-1", b"\x00\xff")
        assert metadata["triton-grpc-protocol-door-key"] == "the-key"
        assert left is not None
        assert 20 < left < 30.5
        assert ("initial", "kept") in [tuple(pair) for pair in call.initial_metadata()]
        assert ("trailing", "kept") in [tuple(pair) for pair in call.trailing_metadata()]
        ask(b"", wait_for_ready=True)
        assert door.inner.calls[-1][3] is None


def test_grpc_failures_pass_with_status_details_and_metadata(door: Door) -> None:
    with door.channel() as channel:
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"{SERVICE}/ModelStatistics")(b"", timeout=10)
        assert (error.value.code(), error.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such model")
        assert ("why", "kept") in [tuple(pair) for pair in error.value.trailing_metadata()]
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(f"{SERVICE}/ModelConfig")(b"", timeout=0.5)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        for path in (f"{SERVICE}/Nothing", "/other.Service/ModelInfer"):
            with pytest.raises(grpc.RpcError) as error:
                channel.unary_unary(path)(b"", timeout=10)
            assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_grpc_message_above_the_limit_is_refused(door: Door, compression: grpc.Compression) -> None:
    before = len(door.inner.calls)
    with door.channel() as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary(f"{SERVICE}/ModelInfer")(bytes(LARGEST_MB * 2**20 + 1), timeout=20, compression=compression)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [call for call in door.inner.calls[before:] if call[0].endswith("ModelInfer")] == []


def test_classes_of_a_text_output_are_refused_over_grpc_and_those_of_numbers_pass(door: Door) -> None:
    with door.channel() as channel:
        ask, stream = channel.unary_unary(f"{SERVICE}/ModelInfer"), channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        for refused in (
            lambda: ask(wants("LABEL"), timeout=10),
            lambda: list(stream(iter([wants("LABEL")]), timeout=10)),
        ):
            before = len(door.inner.calls)
            with pytest.raises(grpc.RpcError) as error:
                refused()
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "the output 'LABEL' is text and has no classes" in (error.value.details() or "")
            assert [call[0] for call in door.inner.calls[before:] if "Infer" in call[0].rpartition("/")[2]] == []
        assert ask(wants("PROBABILITIES"), timeout=10)
        with pytest.raises(grpc.RpcError) as error:
            ask(b"classification", timeout=10)
        assert "not a ModelInferRequest" in (error.value.details() or "")


def test_a_stream_passes_message_by_message(door: Door) -> None:
    with door.channel() as channel:
        call = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(iter([b"one", b"two"]), timeout=20)
        assert list(call) == [b"answer:one", b"answer:two"]
        assert ("trailing", "kept") in [tuple(pair) for pair in call.trailing_metadata()]
