"""What the tests read from Dagster's pages tells a made asset from one that is not: on a webserver with both."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import dagster as dg
import pytest

from genre_assets.processes import dies_with_parent
from genre_assets_tests.browser import pages, toy_definitions
from genre_assets_tests.conftest import free_port
from genre_assets_tests.waiting import until

pytestmark = pytest.mark.browser


@pytest.fixture
def webserver(tmp_path: Path) -> Iterator[str]:
    """Dagster's webserver over the toy definitions."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("made"))
        for asset, partition in (("made_for_each", "blues"), ("made_for_each", "rock"), ("made_for_one", "rock")):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))
    port = free_port()
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    command = [*dies_with_parent(), program, "-m", toy_definitions.__name__, "-h", "127.0.0.1", "-p", str(port)]
    variables = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, env=variables, stdout=log, stderr=log) as process,
    ):

        def answers() -> bool:
            try:
                with urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
                    return True
            except (URLError, OSError):
                return False

        try:
            until(answers, lambda: (tmp_path / "log").read_text(), 120, pause=0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_an_asset_that_was_never_made_or_lacks_a_partition_is_shown_so(webserver: str) -> None:
    executable = pages.chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    wanted = {
        "made": True, "never_made": False, "made_for_each": True, "made_for_one": False, "never_made_for_any": False,
    }  # fmt: skip
    with pages.page(executable, height=3000) as page:
        assert pages.catalog(page, webserver, wanted) == wanted
