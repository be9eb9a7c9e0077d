"""`genre-assets up --observability`: three more services with lights, which are remembered, asked, and ended by `down`."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from genre_assets.processes import orphan_processes
from genre_assets.settings import load_settings
from genre_assets.stack.configuration import configure
from genre_assets.stack.services.catalogue import services
from genre_assets_tests.live import COMMAND, PORT_OFFSET
from genre_assets_tests.observability.programs import program, scraped

THREE = ["node-exporter", "alertmanager", "prometheus"]


def test_they_are_services_where_they_are_asked_for_and_it_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = [service.name for service in services(configure(tmp_path))]
    monkeypatch.setenv("GENRE_OBSERVABILITY", "true")
    configure(tmp_path)
    monkeypatch.delenv("GENRE_OBSERVABILITY")
    remembered = services(load_settings(tmp_path))
    assert [service.name for service in remembered] == [*plain, *THREE]
    assert {port for service in remembered[-3:] for port in service.ports.values()} == {8407, 8408, 8409}
    monkeypatch.setenv("GENRE_OBSERVABILITY", "false")
    assert [service.name for service in services(configure(tmp_path))] == plain


@pytest.mark.long
@pytest.mark.stack
@pytest.mark.timeout(1200)
def test_up_starts_them_status_shows_them_and_down_ends_them(tmp_path: Path) -> None:
    for name in ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter"):
        program(name)
    environment = {**os.environ, "GENRE_HOME": str(tmp_path), "GENRE_PORT_OFFSET": str(PORT_OFFSET + 50)}

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=environment, timeout=600)

    try:
        up = command("up", "--observability")
        assert up.returncode == 0, up.stdout + up.stderr
        lights = json.loads(command("status", "--json").stdout)["services"]
        assert {name: lights[name]["light"] for name in THREE} == dict.fromkeys(THREE, "healthy")
        jobs = scraped(f"{lights['prometheus']['url']}/api/v1/targets?state=active")
        assert {target["labels"]["job"] for target in json.loads(jobs)["data"]["activeTargets"]} == {
            "triton", "triton-door", "gateway", "node", "alertmanager", "prometheus",
        }  # fmt: skip
    finally:
        assert command("down").returncode == 0
    assert orphan_processes(tmp_path) == []
