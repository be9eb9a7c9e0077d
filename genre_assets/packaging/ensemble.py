"""The four models of the ensemble as typed configuration: which tensors flow between which steps.

AUDIO -> pre_processor -> FEATURES, FACTS, PARTS
         FEATURES, PARTS -> predictor (one of its versions serves) -> SCORES, MODEL, VERSION, SERVED_BY, TIMELINE
         all of them -> post_processor -> LABEL, PROBABILITIES, LABEL_SET, HEARD, ERROR, and a row in the prediction log
"""

import json
from dataclasses import dataclass, replace
from typing import Literal

from genre_assets.errors import BadInput
from genre_assets.labels import version_of
from genre_assets.packaging.config import ModelConfig, Step, Tensor
from genre_assets.triton import protocol as p

# The folder or archive of the execution environment, beside the repository's folder. Triton resolves the dots by the
# letter, before it follows links.
ENVIRONMENT = "$$TRITON_MODEL_DIRECTORY/../../environments/{hash}"
LABELS_FILE = "labels.txt"


@dataclass(frozen=True)
class EnsembleSpec:
    """What the configurations follow from: the models' signature, how audio is cut, and the server's size."""

    labels: tuple[str, ...]
    feature_set: str
    feature_set_version: str
    columns: int
    segments: int
    max_seconds: float
    segment_seconds: float
    offset: Literal["start", "middle", "random"]
    min_seconds: float
    champion: int
    fallback: int | None
    environment: str  # lock hash
    max_batch: int
    extractors: int  # instances of the pre-processor: the step that costs


def configurations(spec: EnsembleSpec, contract: str = "") -> dict[str, ModelConfig]:
    """Every model's configuration, by name; the predictor serves the champion.

    The names of the steps carry the contract, so that an ensemble asks steps of its own only, whatever else is loaded.
    """
    audio, facts = Tensor(p.AUDIO, "BYTES"), Tensor(p.FACTS, "BYTES")
    features = Tensor(p.FEATURES, "FP32", (spec.segments, spec.columns))
    # As many as there are labels. The number is left open: while a release with other labels comes in, a step of the one
    # before may have to pass on what a step of the new one made.
    scores = Tensor(p.SCORES, "FP32", (-1,))
    pre_processor, predicting, post_processor = (p.named(step, contract) for step in p.PYTHON_MODELS)
    model, version, served = Tensor(p.MODEL, "BYTES"), Tensor(p.VERSION, "INT64"), Tensor(p.SERVED_BY, "BYTES")
    label, label_set, heard, error = (Tensor(name, "BYTES") for name in (p.LABEL, p.LABEL_SET, p.HEARD, p.ERROR))
    probabilities = Tensor(p.PROBABILITIES, "FP32", (-1,), labels=LABELS_FILE)
    timeline = Tensor(p.TIMELINE, "BYTES")
    # Optional, since a release of before timelines has a step that does not make it.
    parts, may_have_parts = Tensor(p.PARTS, "BYTES"), Tensor(p.PARTS, "BYTES", optional=True)
    shared = {
        "EXECUTION_ENV_PATH": ENVIRONMENT.format(hash=spec.environment), "environment": spec.environment,
        "feature_set": spec.feature_set, "feature_set_version": spec.feature_set_version,
        **({"contract": contract} if contract else {}),
    }  # fmt: skip
    audio_parameters = {
        "segments": str(spec.segments), "max_seconds": str(spec.max_seconds), "offset": spec.offset,
        "segment_seconds": str(spec.segment_seconds), "min_seconds": str(spec.min_seconds),
    }  # fmt: skip
    roles = {"champion": str(spec.champion), "fallback": str(spec.fallback or "")}
    # No dynamic batching in front of the extraction: merged requests would wait for one process while another idles.
    pre = ModelConfig(
        pre_processor, spec.max_batch, (audio,), (features, facts, parts),
        instances=spec.extractors, parameters={**shared, **audio_parameters},
    )  # fmt: skip
    predictor = ModelConfig(
        predicting, spec.max_batch, (features, may_have_parts), (scores, model, version, served, timeline),
        dynamic_batching=True, parameters={**shared, **roles},
    )  # fmt: skip
    post = ModelConfig(
        post_processor, spec.max_batch, (features, facts, scores, served),
        (label, probabilities, label_set, heard, error),
        dynamic_batching=True, parameters=shared,
    )  # fmt: skip
    ensemble = ModelConfig(
        p.ENSEMBLE, spec.max_batch, (audio,), (label, probabilities, label_set, model, version, heard, timeline, error),
        parameters={
            "labels": json.dumps(spec.labels), "label_set": version_of(spec.labels),
            "feature_set": spec.feature_set, "feature_set_version": spec.feature_set_version,
        },
        steps=tuple(_step(c) for c in (pre, predictor, post)),
    )  # fmt: skip
    return {c.name: c for c in (pre, with_route(predictor, "champion"), post, ensemble)}


def with_route(predictor: ModelConfig, route: str) -> ModelConfig:
    """The predictor's configuration serving another of its versions. Raises `BadInput` if there is none for the route."""
    version = predictor.parameters.get(route, "") if route in p.ROUTES else ""
    if not version:
        raise BadInput(f"there is no {route} in this release")
    return replace(predictor, versions=(int(version),), parameters={**predictor.parameters, "route": route})


def _step(config: ModelConfig) -> Step:
    """Tensors carry the same names in the ensemble as in its steps."""
    return Step(config.name, {t.name: t.name for t in config.inputs}, {t.name: t.name for t in config.outputs})
