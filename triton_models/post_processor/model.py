"""FEATURES, FACTS, SCORES, SERVED_BY -> LABEL, PROBABILITIES, LABEL_SET, HEARD, ERROR, and a row of the prediction log for each item."""

import json
import logging
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from genre_assets.database import Database
from genre_assets.inference.answers import Facts, ServedBy, answer, check_numpy, log_row
from genre_assets.inference.capture import CaptureRules
from genre_assets.inference.capture_upload import ClientsAudio
from genre_assets.inference.metrics import Metrics
from genre_assets.inference.running import check_release
from genre_assets.inference.seal import Seals, Unsealed
from genre_assets.inference.spool import PredictionLog
from genre_assets.settings import load_settings
from genre_assets.store import s3_client
from genre_assets.triton.protocol import (
    CAPTURE_SPOOL,
    ERROR,
    FACTS,
    FEATURES,
    HEARD,
    LABEL,
    LABEL_SET,
    PROBABILITIES,
    PROBE,
    REQUEST_FAILED,
    SCORES,
    SEAL_KEY,
    SERVED_BY,
    failed,
)

log = logging.getLogger(__name__)


class TritonPythonModel:
    """Words the answers, counts them and logs them."""

    def initialize(self, args: dict[str, str]) -> None:
        check_numpy()
        given = {key: value["string_value"] for key, value in json.loads(args["model_config"])["parameters"].items()}
        settings = load_settings()
        self.feature_set = (given["feature_set"], given["feature_set_version"])
        self.metrics = Metrics(pb_utils)
        self.metrics.release_state(fits=check_release(args["model_name"], given))
        self.seals = Seals(settings.home / SEAL_KEY)
        self.log = PredictionLog(
            settings.home / "triton" / "spool",
            Database(settings.database_url.get_secret_value()),
            max_bytes=round(settings.spool_max_mb * 2**20),
            retention_days=settings.prediction_retention_days,
            tell=self.metrics.log_state,
        )

        self.clips = ClientsAudio(
            settings.home / CAPTURE_SPOOL,
            CaptureRules.from_settings(settings),
            settings.clients_bucket,
            lambda: s3_client(settings, connect_seconds=2, read_seconds=20, attempts=1),
            tell=self.metrics.capture_state,
        )

    def finalize(self) -> None:
        self.clips.close()
        self.log.close()

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            return self._worded(request)
        except Unsealed as error:  # in no row: nobody knows what it is worth
            self.metrics.count_unsealed()
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{REQUEST_FAILED}: {error}"))
        except Exception as error:  # one request must not fail those that it was batched with
            log.exception("a request failed")
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(failed(error)))

    def _worded(self, request: Any) -> Any:
        tensors = {t.name(): t.as_numpy() for t in request.inputs()}
        request_id, features, scores = request.request_id(), tensors[FEATURES], tensors[SCORES]
        told = self.seals.opened("facts", request_id, tensors[FACTS].reshape(-1), [features])
        facts = [Facts.decode(text) for text in told]
        told = self.seals.opened("served", request_id, tensors[SERVED_BY].reshape(-1), [features, scores])
        served = [ServedBy.decode(text) for text in told]
        answers = [answer(f, s, by.labels) for f, s, by in zip(facts, scores, served, strict=True)]
        if request_id.startswith(PROBE):
            self.metrics.count_probe(len(answers))
        else:
            named = request_id or str(uuid.uuid4())  # without a name of its own no label could find these rows again
            kept = [self.clips.decide(f, given) for f, given in zip(facts, answers, strict=True)]
            facts = [replace(f, address=address) if address else f for f, address in zip(facts, kept, strict=True)]
            self.log.append(
                [
                    log_row(named, i, facts[i], features[i], served[i], given, self.feature_set)
                    for i, given in enumerate(answers)
                ]
            )
            for given, known, by in zip(answers, facts, served, strict=True):
                self.metrics.count(given, known, by)
        probabilities = np.zeros(scores.shape, np.float32)
        for row, given in zip(probabilities, answers, strict=True):
            if given.probabilities:
                row[:] = given.probabilities
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(LABEL, _column([a.label for a in answers])),
                pb_utils.Tensor(PROBABILITIES, probabilities),
                pb_utils.Tensor(LABEL_SET, _column([by.label_set for by in served])),
                pb_utils.Tensor(HEARD, _column([known.heard for known in facts])),
                pb_utils.Tensor(ERROR, _column([a.message for a in answers])),
            ]
        )


def _column(texts: list[str]) -> Any:
    return np.array([text.encode() for text in texts], dtype=object).reshape(-1, 1)
