# ruff: noqa: D101, D102, ARG002  # written as such models are
# mypy: ignore-errors
"""S3 keys -> features, a process for each file, features written back to S3: the reference system's way.

Two of its faults are mended, or it could not be measured: rows are put back in order, and the semaphore starts at the
number of cores (there it starts at 0 on two cores and hangs). The feature code is that of the platform's own equality
test, which calls librosa as the reference does.
"""

import io
import json
import multiprocessing
import os
import sys
import uuid

import boto3
import librosa
import numpy as np
import soundfile
import triton_python_backend_utils as pb_utils

sys.path.insert(0, os.environ["REFERENCE_CODE"])
from equality_of_the_reference import by_librosa


def s3():
    return boto3.client(
        "s3", endpoint_url=os.environ["REFERENCE_S3"], aws_access_key_id=os.environ["REFERENCE_KEY"],
        aws_secret_access_key=os.environ["REFERENCE_SECRET"], region_name="us-east-1",
    )  # fmt: skip


def extract(place, key, queue, semaphore):
    try:
        data = s3().get_object(Bucket=os.environ["REFERENCE_BUCKET"], Key=key)["Body"].read()
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", frames=30 * 22050)
        features = by_librosa(samples, rate)
        queue.put((place, [features[name] for name in sorted(features)]))
    finally:
        semaphore.release()


class TritonPythonModel:
    def initialize(self, args):
        librosa.effects.hpss(np.random.default_rng(0).standard_normal(22050).astype(np.float32))
        by_librosa(np.random.default_rng(0).standard_normal(66150).astype(np.float32), 22050)

    def execute(self, requests):
        responses = []
        for request in requests:
            keys = [k.decode() for k in pb_utils.get_input_tensor_by_name(request, "KEYS").as_numpy().reshape(-1)]
            queue, semaphore = multiprocessing.Queue(), multiprocessing.Semaphore(os.cpu_count())
            processes = []
            for place, key in enumerate(keys):
                semaphore.acquire()
                processes.append(multiprocessing.Process(target=extract, args=(place, key, queue, semaphore)))
                processes[-1].start()
            rows = dict(queue.get() for _ in keys)
            for process in processes:
                process.join()
            features = np.array([rows[place] for place in range(len(keys))], np.float32)
            body = json.dumps(features.tolist()).encode()
            s3().put_object(Bucket=os.environ["REFERENCE_BUCKET"], Key=f"features/{uuid.uuid4().hex}.json", Body=body)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("FEATURES", features)]))
        return responses
