"""The gateway in a process of its own, over a live ensemble or over a history of windows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genre_assets.settings import Settings
from genre_assets.stack.services.gateway import Gateway
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.serving.live_stack import LiveStack, write_env


@contextmanager
def gateway(settings: Settings, home: Path, **more: object) -> Iterator[str]:
    """The service with these settings and `more`; the address of its first page."""
    port = free_port()
    own = {"home": home, "gateway_port": port, "gateway_url": f"http://127.0.0.1:{port}", **more}
    home.mkdir(parents=True, exist_ok=True)
    moved = settings.model_copy(update=own)
    write_env(moved)
    with running(Gateway(moved)) as service:
        yield service.addresses()["url"]


@pytest.fixture(scope="module")
def front_door(live: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gateway before the session's ensemble."""
    with gateway(live.settings, tmp_path_factory.mktemp("gateway")) as address:
        yield address
