"""One side of `audio_against_first`: on request it does what is timed, and says how long.

It is run as a file, never imported: the package that it imports is that of the checkout, of the first version or of today's.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

from genre_assets.audio import extract
from genre_assets.settings import load_settings
from genre_assets.store import ObjectStore, s3_client

try:
    from genre_assets.audio.decoding.decode import decode
    from genre_assets.audio.dsp import kernel
    from genre_assets.audio.recordings.fingerprint import signature
    from genre_assets.audio.tables import inventory
    from genre_assets.audio.tables.refresh import refresh
except ImportError:  # the first version had no rooms
    from genre_assets.audio.decode import decode  # type: ignore[import-not-found,no-redef]
    from genre_assets.audio.fingerprint import signature  # type: ignore[import-not-found,no-redef]
    from genre_assets.audio.refresh import refresh  # type: ignore[import-not-found,no-redef]

    from genre_assets.audio import inventory, kernel  # type: ignore[attr-defined,no-redef]


@cache
def content(path: str) -> bytes:
    """The file, read before the clock runs."""
    return Path(path).read_bytes()


def features(path: str, feature_set: str, with_kernel: bool = True) -> None:
    """Decode a clip and compute its row."""
    with nullcontext() if with_kernel else kernel.disabled():
        clip = decode(content(path))
        extract.extract(clip.samples, clip.sample_rate, feature_set=feature_set)


@cache
def samples(path: str) -> Any:
    """A decoded clip."""
    return decode(content(path))


WORK: dict[str, Callable[[str], object]] = {
    "read": lambda path: decode(content(path)),
    "default": partial(features, feature_set="default"),
    "gtzan37": partial(features, feature_set="gtzan37"),
    "NumPy": partial(features, feature_set="gtzan37", with_kernel=False),
    "fingerprint": lambda path: signature(samples(path).samples, samples(path).sample_rate),
}


def ingest(home: str, endpoint: str, bucket: str, genre: str, number: int) -> float:
    """Seconds, on the clock, from clips in S3 to their stored rows: the inventory and the features of a genre."""
    settings = load_settings(
        Path(home), s3_endpoint_url=endpoint, s3_access_key="key", s3_secret_key="secret",
        raw_bucket=f"{bucket}-raw", features_bucket=f"{bucket}-features",
    )  # fmt: skip
    store = ObjectStore(s3_client(settings))
    started = time.monotonic()
    inventory.update(store, settings, [genre])
    done = refresh(store, settings, [genre])
    seconds = time.monotonic() - started
    if done.extracted != number:
        raise RuntimeError(f"{done.extracted} clips have features, not {number}")
    return seconds


def main() -> None:
    """Answer requests, one on a line, until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        if request["what"] == "ingest":
            spent = ingest(**request["of"])
        else:
            content(request["of"])
            if request["what"] == "fingerprint":
                samples(request["of"])
            started = time.process_time()
            WORK[request["what"]](request["of"])
            spent = time.process_time() - started
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
