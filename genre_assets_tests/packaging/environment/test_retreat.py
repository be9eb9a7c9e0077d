"""A conda-forge that answers and then fails: the environment is made of the locked wheels, and it is said why."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from genre_assets.errors import PermanentFailure
from genre_assets.packaging.environment import build, conda
from genre_assets.packaging.environment.lock import DEFINITION, Environment
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore

pytestmark = pytest.mark.stack


def index() -> bytes:
    """An index in which every package of `environment.yaml` is, so that the solver is content."""
    packages: dict[str, dict[str, object]] = {}
    for spec in yaml.safe_load((DEFINITION / "environment.yaml").read_text())["dependencies"]:
        name, version = re.match(r"([a-z0-9-]+) >=([0-9.]+)", spec).groups()  # type: ignore[union-attr]
        packages[f"{name}-{version}-0.conda"] = {
            "name": name, "version": version, "build": "0", "build_number": 0, "subdir": "linux-64", "depends": [],
            "size": 4096, "sha256": "0" * 64,
        }  # fmt: skip
    return json.dumps({"info": {"subdir": "linux-64"}, "packages": {}, "packages.conda": packages}).encode()


def compressed(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


@contextmanager
def channel(fault: str) -> Iterator[str]:
    """A channel on loopback that fails as it is told; its address."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            if self.path.endswith("linux-64/repodata.json.zst") and fault != "has no index":
                self._send(compressed(index()))
            elif self.path.endswith("noarch/repodata.json.zst") and fault != "has no index":
                self._send(compressed(b'{"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}}'))
            elif self.path.endswith(".conda") and fault == "cuts its packages":
                self.send_response(200)
                self.send_header("Content-Length", "4096")
                self.end_headers()
                self.wfile.write(b"PK")
            elif self.path.endswith(".conda") and fault == "hangs":
                over.wait(60)
            else:
                self.send_error(404 if "repodata" in self.path and fault != "has no index" else 503)

        def _send(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/conda-forge"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    "fault",
    ["hangs", *(pytest.param(fault, marks=pytest.mark.long) for fault in ("has no index", "cuts its packages"))],
)
def test_the_wheels_take_over(
    execution_environment: Environment,
    s3_settings: Settings,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    """The wheels' environment has been made before, elsewhere, but whoever has it would not have asked: it comes late."""
    monkeypatch.setattr(build, "FORGE_SECONDS", 5.0 if fault == "hangs" else 60.0)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("conda-forge answered"):
            archive = execution_environment.archive
            store.upload_file(s3_settings.serving_bucket, execution_environment.key, archive)

    with channel(fault) as address:
        changed = {"home": tmp_path, "environment_source": "auto", "conda_channel": address}
        settings = s3_settings.model_copy(update=changed)
        made = conda.ensure(settings, store, say)
        assert conda.choose_lock(settings, store) == made.lock  # and so it is from now on
        insisting = settings.model_copy(update={"environment_source": "conda-forge", "home": tmp_path / "other"})
        with pytest.raises(PermanentFailure, match=address):
            conda.ensure(insisting, store)
    assert made.lock.source == "local"
    assert build.warm(made.folder)["versions"]
    why = next(text for text in said if text.startswith("conda-forge answered and then failed"))
    assert address in why
