"""Items -> feature rows, one item's failure costing only itself: the pre-processor's side of the runtime."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from genre_assets.audio.decoding import sandbox
from genre_assets.audio.decoding.reasons import AudioError
from genre_assets.audio.dsp import kernel
from genre_assets.audio.extract import FEATURE_SETS, Limits, extract_item
from genre_assets.errors import PermanentFailure
from genre_assets.inference.answers import Facts
from genre_assets.inference.items import ItemError, ItemReader, address_of, timed_read
from genre_assets.inference.timeline import Parts

log = logging.getLogger(__name__)


class FeatureMaker:
    """Makes the feature tensor of a request.

    Raises `PermanentFailure` if the code beside it does not make the rows that the models were trained on.
    """

    def __init__(self, reader: ItemReader, limits: Limits, *, feature_set: str, version: str, segments: int) -> None:
        have = FEATURE_SETS.get(feature_set)
        if have is None or have.version != version:
            raise PermanentFailure(
                f"the models want feature set {feature_set} {version}; this code makes "
                f"{f'{feature_set} {have.version}' if have else 'none of that name'}: materialise triton_repo again"
            )
        self.reader = reader
        self.limits = limits
        self.feature_set = have
        self.segments = segments
        kernel.load()  # compiled or fetched before the first request, not in it
        sandbox.start(limits.max_seconds)  # likewise

    def make(self, items: Sequence[bytes], tag: str = "") -> tuple[NDArray[np.float32], list[Facts]]:
        """Features float32 [n, segments, columns] (NaN where there is none) and facts of every item, in order.

        `tag` is what the client said of the request.
        """
        features, facts, _ = self.make_with_parts(items, tag)
        return features, facts

    def make_with_parts(
        self, items: Sequence[bytes], tag: str = "", make_parts: Callable[[bytes], Parts] | None = None
    ) -> tuple[NDArray[np.float32], list[Facts], list[bytes]]:
        """The same, and the encoded parts of each item, made by `make_parts` of its bytes; all empty without it."""
        features = np.full((len(items), self.segments, len(self.feature_set.columns)), np.nan, np.float32)
        refused = self.reader.over_budget(items)
        facts, parts = [], []
        for place, item in enumerate(items):
            try:
                if refused is not None:
                    raise refused
                data, fetch_ms = timed_read(self.reader, item)
            except ItemError as error:
                rows, known = None, Facts(code=error.code, error=error.detail)
                parts.append(Parts(error=str(error)))
            else:
                rows, known = self._one(data, fetch_ms)
                parts.append(make_parts(data) if make_parts else Parts())
            if rows is not None:
                features[place, : len(rows)] = rows[: self.segments]
            facts.append(replace(known, address=address_of(item), tag=tag))
        return features, facts, [some.encode() if make_parts else b"" for some in parts]

    def _one(self, data: bytes, fetch_ms: float) -> tuple[NDArray[np.float32] | None, Facts]:
        try:
            made = extract_item(data, feature_set=self.feature_set.name, limits=self.limits)
        except AudioError as error:
            return None, Facts(code=str(error.reason), error=error.detail)
        except Exception as error:  # the other items of the request must have their answers
            log.exception("an item broke the feature extraction")
            return None, Facts(code="internal", error=f"feature extraction failed: {type(error).__name__}")
        return made.features, Facts(
            made.fingerprint,
            decode_ms=made.decode_s * 1e3,
            extract_ms=made.extract_s * 1e3,
            fetch_ms=fetch_ms,
            format=made.format,
            sample_rate=made.sample_rate,
            channels=made.channels,
            duration_s=made.duration_s if made.is_length_known else 0.0,
            heard_from_s=made.heard_from_s,
            heard_s=made.heard_s,
        )
