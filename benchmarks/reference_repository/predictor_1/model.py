# ruff: noqa: D101, D102, ARG002  # written as such models are
# mypy: ignore-errors
"""Features -> label numbers by a scikit-learn forest, with the drift check and its row in PostgreSQL in the path."""

import os
import warnings
from datetime import datetime

import numpy as np
import pandas as pd
import psycopg2
import triton_python_backend_utils as pb_utils
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset
from sklearn.ensemble import RandomForestClassifier

COLUMNS = [f"f{i}" for i in range(37)]
warnings.filterwarnings("ignore")


class TritonPythonModel:
    def initialize(self, args):
        random = np.random.default_rng(0)
        self.reference = pd.DataFrame(random.standard_normal((1487, 37)), columns=COLUMNS)
        # The reference unpickles a forest from MLflow; one of its size is fitted here, so that no pickle is needed.
        self.model = RandomForestClassifier(200, random_state=0).fit(
            self.reference.to_numpy(), random.integers(0, 10, 1487)
        )
        self.connection = psycopg2.connect(os.environ["REFERENCE_DATABASE"])
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS drift (at timestamptz, drifted int, share float, dataset_drift bool)"
            )

    def execute(self, requests):
        responses = []
        for request in requests:
            features = pb_utils.get_input_tensor_by_name(request, "FEATURES").as_numpy()
            current = pd.DataFrame(features, columns=COLUMNS)
            report = Report([DataDriftPreset()]).run(Dataset.from_pandas(current), Dataset.from_pandas(self.reference))
            found = report.dict()["metrics"][0]["value"]
            with self.connection, self.connection.cursor() as cursor:
                values = (datetime.now(), int(found["count"]), float(found["share"]), found["share"] > 0.5)  # noqa: DTZ005 (as the reference)
                cursor.execute("INSERT INTO drift VALUES (%s, %s, %s, %s)", values)
            numbers = self.model.predict(features).astype(np.int64).reshape(-1, 1)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("NUMBERS", numbers)]))
        return responses
