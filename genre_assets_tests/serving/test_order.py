"""Order: 10,000 items from eight clients at once, every answer known beforehand, none with its neighbour's."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from genre_assets.inference.answers import Answer
from genre_assets.packaging import golden
from genre_assets.triton.client.sync import GenreClient, Prediction
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.toys import clip

pytestmark = pytest.mark.stack
DISTINCT, ITEMS, CLIENTS = 250, 10_000, 8


@pytest.mark.timeout(600)
def test_ten_thousand_items_from_eight_clients_have_their_own_answers(live: LiveStack) -> None:
    clips = [clip(i, seconds=1.0, rate=4_000) for i in range(DISTINCT - 5)] + [b"broken %d" % i * 40 for i in range(5)]
    offline = golden.expected(clips, live.models[3], live.releases[0].spec)
    known = np.array([o.probabilities or [0.0] * 10 for o in offline], np.float32)
    apart = np.abs(known[:, None] - known[None, :]).max(axis=2)[: DISTINCT - 5, : DISTINCT - 5]
    assert (apart[~np.eye(len(apart), dtype=bool)] > 1e-4).all(), "a swap must be visible"
    wanted = list(np.random.default_rng(5).integers(0, DISTINCT, ITEMS))

    def one_client(number: int) -> list[tuple[int, Prediction]]:
        mine = wanted[number::CLIENTS]
        sizes = random.Random(number)
        answers: list[Prediction] = []
        with GenreClient(live.settings.triton_grpc, batch=sizes.randint(1, 16), concurrency=2) as client:
            while len(answers) < len(mine):
                some = mine[len(answers) : len(answers) + sizes.randint(1, 120)]
                answers += client.predict([clips[i] for i in some], log=False)
        return list(zip(mine, answers, strict=True))

    with ThreadPoolExecutor(CLIENTS) as pool:
        pairs = [pair for result in pool.map(one_client, range(CLIENTS)) for pair in result]
    assert len(pairs) == ITEMS
    wrong = [i for i, given in pairs if not is_answer_to(given, offline[i])]
    assert wrong == []


def is_answer_to(given: Prediction, wanted: Answer) -> bool:
    if wanted.code:
        return given.error.startswith(wanted.code)
    difference = np.abs(np.array(list(given.probabilities.values())) - wanted.probabilities).max()
    return given.label == wanted.label and bool(difference < 1e-5)


def test_the_comparison_would_see_a_swapped_pair(live: LiveStack) -> None:
    first, second = golden.expected([clip(1), clip(2)], live.models[3], live.releases[0].spec)
    given = live.client.predict([clip(1), clip(2)], log=False)
    assert is_answer_to(given[0], first)
    assert not is_answer_to(given[0], second)
    assert not is_answer_to(given[1], first)
