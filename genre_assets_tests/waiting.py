"""Waiting for what other processes do: never a fixed sleep before an assertion."""

import time
from collections.abc import Callable


def until(
    holds: Callable[[], bool], what: str | Callable[[], str], seconds: float = 120.0, pause: float = 0.05
) -> None:
    """Look every `pause` seconds whether it holds; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(pause)
