"""Who states the gRPC address alone is not answered for by whatever has the default HTTP port."""

import pytest

from genre_assets.cli.serving import predict
from genre_assets.settings import load_settings
from genre_assets.triton.control import TritonControl


@pytest.mark.parametrize(("both", "asked"), [(False, 0), (True, 1)])
def test_http_is_asked_only_where_it_belongs_to_the_same_server(
    monkeypatch: pytest.MonkeyPatch, both: bool, asked: int
) -> None:
    monkeypatch.setenv("GENRE_TRITON_GRPC", "triton.example:8001")
    if both:
        monkeypatch.setenv("GENRE_TRITON_HTTP", "triton.example:8000")
    looks: list[None] = []

    def empty(self: TritonControl) -> list[object]:
        looks.append(None)
        return []

    monkeypatch.setattr(TritonControl, "ready", lambda self: False)
    monkeypatch.setattr(TritonControl, "index", empty)
    assert predict._nothing_is_released(load_settings()) is both
    assert len(looks) == asked
