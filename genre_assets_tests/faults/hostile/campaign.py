"""A campaign: quiet, then hostile, and what the honest client, the processes and the prediction log say of it."""

import random
import threading
import time
import uuid
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import grpc
import numpy as np
import tritonclient.grpc

from genre_assets.inference.request_log import read
from genre_assets_tests.faults.hostile import mutations, requests
from genre_assets_tests.faults.hostile.client import UNANSWERED, Honest, Hostility, honest_client, send, send_items
from genre_assets_tests.faults.hostile.wire import INNER
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import server_process
from genre_assets_tests.serving.toys import clip
from genre_assets_tests.triton.door import process_of
from genre_assets_tests.waiting import until

REQUEST_SHARE = 5  # one of so many is a malformed request, the others are items
TOGETHER = 3  # hostile items in one request, at most
HONEST_CLIPS = 12
CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass
class Result:
    """What a campaign found. Times are in seconds."""

    seed: int
    items: int = 0  # hostile ones, requests counted as one each
    seconds: float = 0.0
    deaths: list[str] = field(default_factory=list)
    honest: int = 0  # items that honest clients asked meanwhile
    harmed: list[str] = field(default_factory=list)
    rows_missing: int = 0
    unanswered: int = 0
    quiet_p50: float = 0.0
    quiet_p99: float = 0.0
    hostile_p50: float = 0.0
    hostile_p99: float = 0.0
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The honest client's p99 meanwhile, by what it is in quiet."""
        return self.hostile_p99 / self.quiet_p99 if self.quiet_p99 else float("inf")

    @property
    def held(self) -> bool:
        """Nobody died, no other item was harmed, nobody was left without an answer."""
        return not (self.deaths or self.harmed or self.unanswered or self.rows_missing) and self.items > 0


@dataclass
class Campaign:
    """Against a live stack, which must serve its first release."""

    live: LiveStack
    seed: int

    def run(self, items: int, quiet_seconds: float) -> Result:
        """The honest client asks alone, half the time before and half after, and beside `items` hostile ones."""
        result = Result(self.seed)
        INNER.update(self.live.control.steps())
        clips = self._honest_clips()
        before = self._processes()
        prefix = f"honest-{uuid.uuid4().hex[:8]}-"
        quiet = [self._quiet(clips, f"{prefix}q1-", quiet_seconds / 2)]
        began = time.monotonic()
        with self._honest(clips, f"{prefix}h-") as honest:
            seen = self._hostile(items, clips)
        result.seconds = time.monotonic() - began
        quiet.append(self._quiet(clips, f"{prefix}q2-", quiet_seconds / 2))
        after = self._processes()
        result.deaths = [f"{name} ({before[name]} is {after[name]})" for name in before if before[name] != after[name]]
        everyone = [honest, *quiet]
        result.harmed = [*seen.harmed, *(text for client in everyone for text in client.harmed)]
        result.honest = seen.companions + len(honest.seconds) + len(honest.harmed)
        result.outcomes = dict(sorted(seen.outcomes.items()))
        result.items = sum(sum(counts.values()) for counts in seen.outcomes.values())
        result.unanswered = sum(counts[UNANSWERED] for counts in seen.outcomes.values())
        alone = [seconds for client in quiet for seconds in client.seconds]
        result.quiet_p50, result.quiet_p99 = _percentiles(alone)
        result.hostile_p50, result.hostile_p99 = _percentiles(honest.seconds)
        result.rows_missing = self._rows_missing(prefix, sum(client.answered for client in everyone))
        return result

    def _honest_clips(self) -> dict[bytes, str]:
        """Clips with the labels that the server gives them in peace."""
        clips = [clip(number) for number in range(HONEST_CLIPS)]
        return {
            data: answer.label for data, answer in zip(clips, self.live.client.predict(clips, log=False), strict=True)
        }

    def _honest(self, clips: dict[bytes, str], prefix: str) -> AbstractContextManager[Honest]:
        settings = self.live.settings
        return honest_client(settings.triton_grpc, settings.triton_http, clips, prefix)

    def _quiet(self, clips: dict[bytes, str], prefix: str, seconds: float) -> Honest:
        with self._honest(clips, prefix) as honest:
            time.sleep(seconds)
        return honest

    def _processes(self) -> dict[str, int]:
        return {"tritonserver": server_process(self.live), "door": process_of(self.live.settings)}

    def _hostile(self, items: int, clips: dict[bytes, str]) -> Hostility:
        """One sender of items and one of malformed requests, each as fast as it is answered."""
        malformed = items // REQUEST_SHARE
        seen = [Hostility(), Hostility()]
        senders = [
            threading.Thread(target=self._send_items, args=(items - malformed, clips, seen[0])),
            threading.Thread(target=self._send_requests, args=(malformed, seen[1])),
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        return Hostility({**seen[0].outcomes, **seen[1].outcomes}, seen[0].harmed, seen[0].companions)

    def _send_items(self, count: int, clips: dict[bytes, str], seen: Hostility) -> None:
        chance, files, honest = random.Random(f"{self.seed} items"), mutations.corpus(), list(clips.items())
        with tritonclient.grpc.InferenceServerClient(self.live.settings.triton_grpc) as client:
            while count > 0:
                batch = [mutations.item(files, chance) for _ in range(min(count, chance.randint(1, TOGETHER)))]
                count -= len(batch)
                pairs = [(item.kind, item.data) for item in batch]
                send_items(client, pairs, chance.choice(honest), chance.randint(0, len(pairs)), seen)

    def _send_requests(self, count: int, seen: Hostility) -> None:
        chance = random.Random(f"{self.seed} requests")
        with grpc.insecure_channel(self.live.settings.triton_grpc, options=CHANNEL) as channel:
            for number in range(count):
                kind, hostile = requests.draw(number, chance)
                seen.note(kind, send(hostile, channel, self.live.settings.triton_http))

    def _rows_missing(self, prefix: str, answered: int) -> int:
        """How many items of the honest client were answered and are not in the prediction log; it may lag behind."""
        sql = "SELECT count(*) AS n FROM served_requests WHERE request_id LIKE %s"

        def rows() -> int:
            return int(self.live.database.rows(sql, (f"{prefix}%",))[0]["n"])

        read(self.live.database)  # which makes the table where there is none
        try:
            until(lambda: rows() == answered, "each row is there", 60)
        except AssertionError:
            return answered - rows()
        return 0


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    p50, p99 = np.quantile(np.array(seconds), [0.5, 0.99])
    return float(p50), float(p99)
