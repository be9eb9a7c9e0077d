"""Dask is an extra: who asks for it without having it is told what to install."""

import sys
from typing import Any

import dagster as dg
import pytest

from genre_assets.audio import assets
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.labelled import add_ten


@pytest.mark.parametrize("missing", ["dagster_dask", "distributed"])
def test_without_the_extra_the_run_says_what_to_install(
    missing: str, store: ObjectStore, settings: Settings, resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [name for name in sys.modules if name.split(".")[0] == "dagster_dask"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, missing, None)
    store.put_bytes(settings.raw_bucket, "rock/a.wav", b"x")
    far = settings.model_copy(update={"dask_scheduler": "tcp://127.0.0.1:9"})
    given = {**resources, "settings": far}
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets.ASSETS, resources=given, partition_key="rock", instance=add_ten(instance), raise_on_error=False
        )
    assert not done.success
    failures = " ".join(str(event.event_specific_data) for event in done.get_step_failure_events())
    assert "pip install 'genre-assets[dask]'" in failures
