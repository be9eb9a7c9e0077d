"""Malformed requests, each of one kind, over both transports; the kinds that ended Triton once are among them."""

import random

from genre_assets_tests.faults.hostile import grpc_requests, http_requests
from genre_assets_tests.faults.hostile.wire import Hostile, Maker

KINDS: dict[str, Maker] = {**http_requests.KINDS, **grpc_requests.KINDS}
# Those that cost a lot are drawn less often.
HEAVY: dict[str, Maker] = {**http_requests.HEAVY, **grpc_requests.HEAVY}
EACH_HEAVY = 60  # light ones before a heavy one


def draw(number: int, chance: random.Random) -> tuple[str, Hostile]:
    """The request of this number: the kinds come in turn, so that each is there."""
    heavy, light = sorted(HEAVY), sorted(KINDS)
    turn, place = divmod(number, EACH_HEAVY)
    if place == EACH_HEAVY - 1:
        kind = heavy[turn % len(heavy)]
        return kind, HEAVY[kind](chance)
    kind = light[(number - turn) % len(light)]
    return kind, KINDS[kind](chance)
