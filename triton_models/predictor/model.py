"""FEATURES, PARTS -> SCORES, MODEL, VERSION, SERVED_BY, TIMELINE. Each version folder holds one exported model of the registry."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from genre_assets.inference.answers import Predictor, ServedBy, check_numpy
from genre_assets.inference.running import check_release
from genre_assets.inference.seal import Seals
from genre_assets.inference.timeline import timeline
from genre_assets.settings import load_settings
from genre_assets.triton.protocol import FEATURES, MODEL, PARTS, SCORES, SEAL_KEY, SERVED_BY, TIMELINE, VERSION, failed

log = logging.getLogger(__name__)


class TritonPythonModel:
    """One version of the model; which one serves is the version policy's choice."""

    def initialize(self, args: dict[str, str]) -> None:
        check_numpy()
        parameters = json.loads(args["model_config"])["parameters"]
        check_release(args["model_name"], {key: value["string_value"] for key, value in parameters.items()})
        self.predictor = Predictor(Path(__file__).parent)
        self.family = self.predictor.manifest.family
        self.version = int(args["model_version"])
        self.route = parameters["route"]["string_value"]
        self.seals = Seals(load_settings().home / SEAL_KEY)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            features = pb_utils.get_input_tensor_by_name(request, FEATURES).as_numpy()
            parts = pb_utils.get_input_tensor_by_name(request, PARTS)
            started = time.perf_counter()
            scores = self.predictor.scores(features)
            milliseconds = (time.perf_counter() - started) * 1e3
            served = ServedBy(self.family, self.version, self.route, milliseconds, self.predictor.manifest.labels)
            shape = (len(features), 1)
            said = [served.encode()] * len(features)
            sealed = self.seals.seal("served", request.request_id(), said, [features, scores])
            timelines = (
                [timeline(some, self.predictor) for some in parts.as_numpy().reshape(-1)] if parts is not None else []
            )
            timelines = timelines or [b""] * len(features)
            return pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(TIMELINE, np.array(timelines, dtype=object).reshape(shape)),
                    pb_utils.Tensor(SCORES, scores),
                    pb_utils.Tensor(MODEL, np.full(shape, self.family.encode(), dtype=object)),
                    pb_utils.Tensor(VERSION, np.full(shape, self.version, dtype=np.int64)),
                    pb_utils.Tensor(SERVED_BY, np.array(sealed, dtype=object).reshape(shape)),
                ]
            )
        except Exception as error:  # one request must not fail those that it was batched with
            log.exception("a request failed")
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(failed(error)))
