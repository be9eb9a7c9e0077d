"""The idle model out of a real release."""

import numpy as np
import pytest

from genre_assets.serving.drift.shadow import IdleModels, score
from genre_assets_tests.serving.live_stack import LiveStack


@pytest.mark.stack
def test_the_idle_model_of_the_live_release_answers_the_same_rows(live: LiveStack) -> None:
    idle = IdleModels(live.store, live.settings)
    champion, fallback = live.releases[0].roles["champion"], live.releases[0].roles["fallback"]
    assert (idle.version("champion"), idle.version("fallback")) == (fallback, champion)
    width = len(live.releases[0].versions[str(fallback)]["columns"])
    values = np.random.default_rng(1).normal(size=(12, width)).astype(np.float32)
    served = idle.probabilities(champion, values)
    assert served.shape == (12, 10)
    assert served.sum(axis=1) == pytest.approx(1, abs=1e-4)
    found = score(idle, "champion", values, served, lambda _: None)
    assert found.values["version"] == fallback
    assert 0 <= found.values["agreement"] <= 1
