# ruff: noqa: D101, D102  # written as such models are
# mypy: ignore-errors
"""Label numbers -> names."""

import numpy as np
import triton_python_backend_utils as pb_utils

NAMES = np.array(
    [b"blues", b"classical", b"country", b"disco", b"hiphop", b"jazz", b"metal", b"pop", b"reggae", b"rock"],
    dtype=object,
)


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("LABELS", NAMES[pb_utils.get_input_tensor_by_name(r, "NUMBERS").as_numpy()])]
            )
            for r in requests
        ]
