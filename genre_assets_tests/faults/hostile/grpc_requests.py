"""Malformed requests over gRPC: messages, shapes, contents, names."""

import random
from typing import Any

from tritonclient.grpc import service_pb2

from genre_assets.triton.protocol import AUDIO, ENSEMBLE, ERROR, LABEL, POST_PROCESSOR, PREDICTOR
from genre_assets_tests.faults.hostile.wire import INNER, SHAPES, TEXTS, Call, Hostile, Maker, tensor
from genre_assets_tests.serving.toys import clip

pb: Any = service_pb2


def message(chance: random.Random, **changes: Any) -> Any:
    """A sound request over gRPC, with entries changed."""
    request = pb.ModelInferRequest(**{"model_name": ENSEMBLE, "id": "hostile", **changes})
    request.inputs.add(name=AUDIO, datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(tensor(clip(chance.randrange(20), seconds=1.0)))
    return request


def infer(request: Any) -> Call:
    """Ask it."""
    return Call("ModelInfer", (request.SerializeToString(),))


def _grpc_shapes(chance: random.Random) -> Hostile:
    request = message(chance)
    shape = chance.choice(
        [shape for shape in SHAPES if isinstance(shape, list) and all(_is_int64(size) for size in shape)]
    )
    request.inputs[0].shape[:] = shape
    return infer(request)


def _is_int64(size: Any) -> bool:
    return isinstance(size, int) and -(2**63) <= size < 2**63


def _grpc_contents(chance: random.Random) -> Hostile:
    request = message(chance)
    kind = chance.randrange(5)
    if kind == 0:
        del request.raw_input_contents[:]
    elif kind == 1:
        request.raw_input_contents.append(b"more")
    elif kind == 2:
        request.inputs[0].contents.bytes_contents.append(b"both")
    elif kind == 3:
        request.raw_input_contents[0] = (2**32 - 1).to_bytes(4, "little") + request.raw_input_contents[0][4:]
    else:
        request.inputs[0].datatype = chance.choice(("", "FP32", "INT64", "bytes", "BOOL", "x" * 3000))
    return infer(request)


def _grpc_texts(chance: random.Random) -> Hostile:
    text = chance.choice([text for text in TEXTS if text.isascii() or "\ud800" not in text])
    text = text.encode(errors="ignore").decode()
    return infer(message(chance, **{chance.choice(("id", "model_name", "model_version")): text}))


def _grpc_classes(chance: random.Random) -> Hostile:
    request = message(chance)
    name = chance.choice((LABEL, ERROR, "MODEL", "PROBABILITIES", "VERSION", ""))
    request.outputs.add(name=name).parameters["classification"].int64_param = chance.choice((1, 3, 0, -1, 2**40))
    one = request.SerializeToString()
    return Call("ModelStreamInfer", (one, one)) if chance.random() < 0.2 else Call("ModelInfer", (one,))


def _grpc_parameters(chance: random.Random) -> Hostile:
    request = message(chance)
    where = chance.choice((request, request.inputs[0]))
    name = chance.choice(
        ("sequence_id", "priority", "timeout", "shared_memory_region", "shared_memory_byte_size", "triton_x")
    )
    where.parameters[name].int64_param = chance.choice((-1, 0, 2**62))
    if chance.random() < 0.5:
        where.parameters[name].string_param = chance.choice(("", "x", "../../x"))
    return infer(request)


def _grpc_bytes(chance: random.Random) -> Hostile:
    sound = bytearray(message(chance).SerializeToString())
    kind = chance.randrange(4)
    if kind == 0:
        sound = bytearray(chance.randbytes(chance.randint(0, 3000)))
    elif kind == 1:
        sound = sound[: chance.randrange(len(sound))]
    elif kind == 2:
        for _ in range(chance.randint(1, 8)):
            sound[chance.randrange(min(120, len(sound)))] = chance.randrange(256)
    else:
        sound = bytearray(b"\x7b" * chance.choice((50, 5000, 100_000)))  # groups in groups
    return Call(chance.choice(("ModelInfer", "ModelInfer", "ModelStreamInfer")), (bytes(sound),))


def _grpc_methods(chance: random.Random) -> Hostile:
    requests = {
        "ModelMetadata": pb.ModelMetadataRequest(name=chance.choice(("..", "\0", ENSEMBLE)), version="-1"),
        "ModelConfig": pb.ModelConfigRequest(name="x" * 9000), "ModelStatistics": pb.ModelStatisticsRequest(version="a"),
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name=INNER[PREDICTOR]),
        "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="../x"), "RepositoryIndex": pb.RepositoryIndexRequest(),
        "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="x", key="/../x", byte_size=2**63),
        "TraceSetting": pb.TraceSettingRequest(model_name="x"), "LogSettings": pb.LogSettingsRequest(), "Nothing": pb.LogSettingsRequest(),
    }  # fmt: skip
    method = chance.choice(sorted(requests))
    return Call(method, (requests[method].SerializeToString(),))


def _grpc_giant_shapes(chance: random.Random) -> Hostile:
    request = pb.ModelInferRequest(model_name=chance.choice((ENSEMBLE, INNER[PREDICTOR], INNER[POST_PROCESSOR])))
    shape = chance.choice(([1, 1, 2**40], [-2, -(2**39)], [2**32, 2**32], [1, 2**62]))
    kind, values = chance.choice((("FP32", "fp32_contents"), ("INT64", "int64_contents"), ("BOOL", "bool_contents")))
    given = request.inputs.add(name=chance.choice(("FEATURES", AUDIO)), datatype=kind, shape=shape)
    getattr(given.contents, values).extend([1, 1, 1])
    return infer(request)


def _grpc_inner_models(chance: random.Random) -> Hostile:
    request = pb.ModelInferRequest(model_name=chance.choice(list(INNER.values())))
    request.inputs.add(name=chance.choice(("FEATURES", AUDIO, "FACTS")), datatype="FP32", shape=[1, 1, 3])
    request.raw_input_contents.append(chance.randbytes(chance.choice((0, 5, 12))))
    return infer(request)


KINDS: dict[str, Maker] = {
    "gRPC: shapes": _grpc_shapes,
    "gRPC: contents": _grpc_contents,
    "gRPC: ids and names": _grpc_texts,
    "gRPC: classes of text (ended Triton)": _grpc_classes,
    "gRPC: parameters": _grpc_parameters,
    "gRPC: damaged messages": _grpc_bytes,
    "gRPC: administration and other methods": _grpc_methods,
    "gRPC: inner models": _grpc_inner_models,
    "gRPC: shapes of more than was sent": _grpc_giant_shapes,
}
HEAVY: dict[str, Maker] = {
    "gRPC: ids of 10 MB": lambda chance: infer(message(chance, id="x" * (10 * 2**20))),
}
