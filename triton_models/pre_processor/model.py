"""AUDIO -> FEATURES, FACTS, PARTS. A thin adapter: the work is in `genre_assets.inference.features`."""

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from genre_assets.audio.extract import Limits
from genre_assets.inference.answers import check_numpy, refused_id
from genre_assets.inference.capture import CaptureRules, PendingClips
from genre_assets.inference.features import FeatureMaker
from genre_assets.inference.items import ItemLimits, ItemReader
from genre_assets.inference.parts import Cancelled, PartsMaker
from genre_assets.inference.running import check_release
from genre_assets.inference.seal import Seals
from genre_assets.inference.store import Places
from genre_assets.inference.timeline import Parts
from genre_assets.settings import Settings, load_settings
from genre_assets.store import s3_client
from genre_assets.triton.protocol import (
    AUDIO,
    CAPTURE_SPOOL,
    FACTS,
    FEATURES,
    LONGEST_TAG,
    PARTS,
    PROBE,
    SEAL_KEY,
    TAG,
    WITH_TIMELINE,
    failed,
)

log = logging.getLogger(__name__)


class TritonPythonModel:
    """One extracting process."""

    def initialize(self, args: dict[str, str]) -> None:
        check_numpy()
        config = json.loads(args["model_config"])
        given = {key: value["string_value"] for key, value in config["parameters"].items()}
        check_release(args["model_name"], given)
        settings = load_settings()
        self.seals = Seals(settings.home / SEAL_KEY)
        limits = Limits(
            max_seconds=float(given["max_seconds"]),
            segment_seconds=float(given["segment_seconds"]),
            offset=given["offset"],
            min_seconds=float(given["min_seconds"]),
            max_file_mb=settings.serving_max_item_mb,
        )
        processes = sum(group["count"] for group in config["instance_group"])
        reader = ItemReader(
            ItemLimits.from_settings(settings),
            lambda: s3_client(settings, connect_seconds=1, read_seconds=2, attempts=1),
            Places(settings.home / "triton" / "store-waits", max(1, processes - 1)),
        )
        self.maker = FeatureMaker(
            reader,
            limits,
            feature_set=given["feature_set"],
            version=given["feature_set_version"],
            segments=int(given["segments"]),
        )
        self.clips = _clips(settings)

        self.parts = PartsMaker(
            limits,
            given["feature_set"],
            most_seconds=settings.serving_timeline_hours * 3600,
            work_seconds=settings.serving_timeline_seconds,
        )
        # One process at least is left to those who ask for no timeline, where there are several.
        self.timelines = Places(settings.home / "triton" / "timelines", max(1, processes - 1))

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            if not _asks_for_timeline(request):
                return self._made(request)
            with self.timelines.one() as free:
                if free:
                    return self._made(request, lambda data: self.parts.make(data, request.is_cancelled))
            busy = f"as many timelines are being made as can be at once ({self.timelines.count}): ask again in a moment"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(busy, pb_utils.TritonError.UNAVAILABLE))
        except Cancelled as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.CANCELLED))
        except Exception as error:  # one request must not fail those that it was batched with
            log.exception("a request failed")
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(failed(error)))

    def _made(self, request: Any, make_parts: Callable[[bytes], Parts] | None = None) -> Any:
        """The response; `make_parts` makes the parts of an item's bytes if a timeline is wanted."""
        items = pb_utils.get_input_tensor_by_name(request, AUDIO).as_numpy().reshape(-1)
        refused = refused_id(request.request_id())
        if refused is not None:
            items, make_parts = [b""] * len(items), None
        features, facts, parts = self.maker.make_with_parts(items, _tag(request), make_parts)
        facts = facts if refused is None else [refused] * len(items)
        if self.clips is not None and not request.request_id().startswith(PROBE):
            facts = self.clips.keep_all(items, facts)
        sealed = self.seals.seal("facts", request.request_id(), [f.encode() for f in facts], [features])
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor(FEATURES, features),
                pb_utils.Tensor(FACTS, np.array(sealed, dtype=object).reshape(-1, 1)),
                pb_utils.Tensor(PARTS, np.array(parts, dtype=object).reshape(-1, 1)),
            ]
        )


def _asks_for_timeline(request: Any) -> bool:
    said = json.loads(request.parameters() or "{}").get(WITH_TIMELINE, False)
    return said in (True, "true")


def _clips(settings: Settings) -> PendingClips | None:
    """Where the bytes of items wait for their answers; None if none are kept."""
    rules = CaptureRules.from_settings(settings)
    if rules.mode == "off":
        return None
    return PendingClips(settings.home / CAPTURE_SPOOL, rules, round(settings.capture_spool_max_mb * 2**20))


def _tag(request: Any) -> str:
    """The request's parameter by which a client may name itself; it is logged."""
    said = json.loads(request.parameters() or "{}").get(TAG, "")
    return said[:LONGEST_TAG] if isinstance(said, str) else ""
