"""The demo's story goes on when a move is booked: what Triton alone says may be taken back a moment later."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from genre_assets.database import Database
from genre_assets.demo import story
from genre_assets.demo.narrator import Narrator
from genre_assets.serving.promotion import route_state
from genre_assets.serving.promotion.moves import Wish


def test_a_move_that_is_taken_back_is_not_told_as_made(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Golden clips are answered otherwise: Triton serves the fallback, the champion again, and then a run makes the move."""
    serves = ["fallback"]

    def is_taken_back() -> None:
        serves[:] = ["champion"]

    def is_made() -> None:
        serves[:] = ["fallback"]
        route_state.confirm(database, "fallback", actor="person", reason="by hand")

    comes: list[Callable[[], None]] = [is_taken_back, is_made]
    route_state.confirm(database, "champion", actor="build", reason="first release")
    route_state.request(database, Wish("fallback", "person", "by hand"))
    triton = SimpleNamespace(route=lambda: serves[0])
    monkeypatch.setattr("genre_assets.triton.control.TritonControl.from_settings", lambda _: triton)
    monkeypatch.setattr(story.Watch, "_send", lambda *_: None)
    monkeypatch.setattr(story, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: comes.pop(0)()))
    settings: Any = SimpleNamespace(window_size=2)
    told = story.Watch(settings, database, Narrator()).send_until("fallback", iter([]))
    assert told.startswith("fallback serves after 1 windows")
    assert route_state.current_route(database) == "fallback"
    assert comes == []
