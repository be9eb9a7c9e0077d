"""Books, files and server compared: over a real Triton, made apart as a killed run or a restart leaves them."""

import pytest

from genre_assets.serving.rollout.reconciliation import Observed, difference, observe
from genre_assets.triton.protocol import PREDICTOR
from genre_assets_tests.serving.live_stack import LiveStack


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (None, None),
        (Observed(None, "champion", "champion"), "nothing is booked"),
        (Observed("champion", "champion", "champion"), None),
        (Observed("champion", "fallback", "fallback"), "the files say fallback and Triton serves fallback"),
        (Observed("champion", "fallback", "champion"), "the files say fallback"),
        (Observed("fallback", "fallback", None), "Triton serves nothing"),
        (Observed("champion", "champion", "champion", ("predictor",)), "Triton has not taken in predictor"),
    ],
)
def test_what_does_not_agree_is_said(seen: Observed | None, said: str | None) -> None:
    found = difference(seen)
    assert (found is None) == (said is None)
    assert said is None or said in str(found)


def test_each_step_of_a_switch_that_is_left_half_done_is_noticed_and_mended(live: LiveStack) -> None:
    repository, control = live.repository, live.control

    def apart() -> str | None:
        return difference(observe("champion", repository, control))

    live.serve("champion")
    assert apart() is None
    repository.write_route("fallback")  # killed before the server was told
    assert "the files say fallback" in str(apart())
    control.load(live.model(PREDICTOR))  # killed before it was booked
    assert "Triton serves fallback" in str(apart())
    repository.write_route("champion")  # a switch back, killed before the server was told
    assert "Triton serves fallback" in str(apart())
    with repository.locked():
        assert apart() is None  # somebody is at work
    live.serve("champion")  # what the run asked for does
    assert apart() is None
    control.unload("genre_ensemble")
    assert apart() is not None
    live.serve("champion")
    assert apart() is None
