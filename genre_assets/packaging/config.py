"""Typed Triton model configuration: dataclass -> protobuf -> `config.pbtxt`, and back.

`config.pbtxt` files are generated, never edited. Triton's own protobuf definition does the writing and the parsing, so
what is written here is what the server reads; anything that these classes cannot express is refused when parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from genre_assets.errors import BadInput

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig as Proto

DataType = Literal["BYTES", "FP32", "INT64"]
_PROTO_TYPES: Mapping[DataType, str] = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT64": "TYPE_INT64"}


@dataclass(frozen=True)
class Tensor:
    """An input or output; `dims` without the batch dimension."""

    name: str
    type: DataType
    dims: tuple[int, ...] = (1,)
    optional: bool = False  # an input that a request may leave out
    labels: str = ""  # name of a file beside the configuration with a label for each element

    def __post_init__(self) -> None:
        if not self.name or not self.dims or any(d < 1 and d != -1 for d in self.dims):
            raise BadInput(f"tensor {self.name!r} has dims {self.dims}: each must be positive, or -1")


@dataclass(frozen=True)
class Step:
    """One model of an ensemble; the maps go from the model's tensor names to the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class ModelConfig:
    """A python model (`steps` is empty) or an ensemble. Raises `BadInput` if Triton could not serve it."""

    name: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    instances: int = 1
    dynamic_batching: bool = False
    versions: tuple[int, ...] = ()  # the versions to serve; empty for the newest
    parameters: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise BadInput(f"model name {self.name!r} must be an identifier")
        if self.max_batch_size < 1 or self.instances < 1:
            raise BadInput(f"{self.name}: max_batch_size and instances must be at least 1")
        if not self.inputs or not self.outputs:
            raise BadInput(f"{self.name}: a model has at least one input and one output")
        for tensors in (self.inputs, self.outputs):
            if len({t.name for t in tensors}) != len(tensors):
                raise BadInput(f"{self.name}: two tensors have the same name")
        if any(v < 1 for v in self.versions):
            raise BadInput(f"{self.name}: versions are positive, not {self.versions}")
        if self.steps:
            self._check_wiring()

    def _check_wiring(self) -> None:
        """Every tensor of the ensemble is made by exactly one step (or given) before it is used."""
        known = {t.name for t in self.inputs}
        for step in self.steps:
            missing = set(step.inputs.values()) - known
            if missing:
                raise BadInput(f"{self.name}: {step.model} uses {sorted(missing)}, which nothing before it makes")
            twice = set(step.outputs.values()) & known
            if twice:
                raise BadInput(f"{self.name}: {step.model} makes {sorted(twice)} a second time")
            known |= set(step.outputs.values())
        missing = {t.name for t in self.outputs} - known
        if missing:
            raise BadInput(f"{self.name}: no step makes the output {sorted(missing)}")


def to_pbtxt(config: ModelConfig) -> str:
    """The text that Triton reads."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(to_proto(config)))


def to_proto(config: ModelConfig) -> "Proto":
    """The configuration as Triton's message."""
    from tritonclient.grpc import model_config_pb2 as pb

    proto = pb.ModelConfig(name=config.name, max_batch_size=config.max_batch_size)
    for tensor in config.inputs:
        proto.input.add(
            name=tensor.name, data_type=_PROTO_TYPES[tensor.type], dims=tensor.dims, optional=tensor.optional
        )
    for tensor in config.outputs:
        proto.output.add(
            name=tensor.name, data_type=_PROTO_TYPES[tensor.type], dims=tensor.dims, label_filename=tensor.labels
        )
    for key, value in sorted(config.parameters.items()):
        proto.parameters[key].string_value = value
    if config.versions:
        proto.version_policy.specific.versions.extend(config.versions)
    if config.dynamic_batching:
        proto.dynamic_batching.SetInParent()
    if config.steps:
        proto.platform = "ensemble"
        for step in config.steps:
            proto.ensemble_scheduling.step.add(
                model_name=step.model, model_version=-1, input_map=dict(step.inputs), output_map=dict(step.outputs)
            )
    else:
        proto.backend = "python"
        proto.instance_group.add(kind=pb.ModelInstanceGroup.KIND_CPU, count=config.instances)
    return proto


def from_pbtxt(text: str) -> ModelConfig:
    """Parse a `config.pbtxt`. Raises `BadInput` for what is not one, or says more than these classes can."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    try:
        proto = text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise BadInput(f"this is not a config.pbtxt: {error}") from error
    types = {pb.DataType.Value(name): type_ for type_, name in _PROTO_TYPES.items()}

    def tensor(t: Any) -> Tensor:
        if t.data_type not in types:
            raise BadInput(f"tensor {t.name} has a type that is not used here: {pb.DataType.Name(t.data_type)}")
        labels, optional = getattr(t, "label_filename", ""), getattr(t, "optional", False)
        return Tensor(t.name, types[t.data_type], tuple(t.dims), optional=optional, labels=labels)

    config = ModelConfig(
        name=proto.name,
        max_batch_size=proto.max_batch_size,
        inputs=tuple(map(tensor, proto.input)),
        outputs=tuple(map(tensor, proto.output)),
        instances=proto.instance_group[0].count if proto.instance_group else 1,
        dynamic_batching=proto.HasField("dynamic_batching"),
        versions=tuple(proto.version_policy.specific.versions),
        parameters={key: value.string_value for key, value in proto.parameters.items()},
        steps=tuple(Step(s.model_name, dict(s.input_map), dict(s.output_map)) for s in proto.ensemble_scheduling.step),
    )
    if to_proto(config) != proto:
        raise BadInput(f"the configuration of {proto.name} says more than is generated here; it was edited by hand")
    return config
