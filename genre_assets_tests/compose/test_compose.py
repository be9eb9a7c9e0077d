"""docker-compose.yaml as it is, on a real engine: up, build, predict, heal, restart, drift, down and up, Dask,
backup. `make test-compose`.

The tests are one story in the order of the file; the images from registries are stand-ins (`stand_ins.py`). Measurements are
printed, and kept in `noted.json` beside the engine.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets.demo.synthetic import write_sample_set
from genre_assets_tests.compose.engine import missing, until
from genre_assets_tests.compose.live import Project, project

pytestmark = [pytest.mark.compose, pytest.mark.timeout(4 * 3600)]
ROOT = Path(os.environ.get("COMPOSE_TEST", "/var/tmp/genre-compose-test"))
RESTARTED = (
    "postgres",
    "s3",
    "mlflow",
    "triton",
    "triton-door",
    "dagster-code",
    "dagster",
    "dagster-daemon",
    "gateway",
)


@pytest.fixture(scope="module")
def live() -> Iterator[Project]:
    if why := missing():
        pytest.skip(why)
    with project(ROOT) as found:
        found.timed("images built", "build")
        found.timed("up", "up", "--wait", "--wait-timeout", "1200")
        yield found


def well(live: Project, seconds: float = 300) -> None:
    until(lambda: not live.unwell(), seconds, "every container is well")


def test_up_waits_until_everything_is_well(live: Project) -> None:
    assert live.unwell() == {}
    for image in ("genre-assets-platform", "genre-assets-triton"):
        live.note(f"size of {image}", live.engine.docker("images", image, "--format", "{{.Size}}").strip())
    live.note("memory", live.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines())


def test_up_again_finds_all_done(live: Project) -> None:
    live.timed("up again", "up", "--wait", "--wait-timeout", "600")
    assert live.unwell() == {}


def test_a_wrong_secret_is_refused(live: Project) -> None:
    with pytest.raises(AssertionError, match="access denied"):
        live.outside("ingest", str(live.audio), secret="wrong")


def test_processes_are_nobody_in_particular_and_write_nowhere_else(live: Project) -> None:
    for service in ("triton", "dagster-code", "dagster", "mlflow", "triton-door"):
        assert live.inside(service, "id", "-u").strip() == "10001"
        assert live.inside(service, "sh", "-c", "touch /opt/x 2>/dev/null || echo refused").strip() == "refused"
        assert "0000000000000000" in live.inside(service, "grep", "CapEff", "/proc/self/status")


def test_the_build_job_ends_well_and_a_clip_is_answered(live: Project) -> None:
    live.outside("ingest", str(live.audio))
    began = time.monotonic()
    live.inside("dagster-code", "genre-assets", "run", "build")
    live.note("build job, seconds", round(time.monotonic() - began))
    assert "nothing to do" in live.inside("dagster-code", "sh", "-c", "genre-assets run build 2>&1")
    live.predict()
    well(live)


def test_the_client_of_the_file_predicts_a_folder(live: Project) -> None:
    assert len(live.compose("run", "--rm", "-T", "client", timeout=600).splitlines()) == 60


def test_a_killed_process_of_triton_is_healed(live: Project) -> None:
    # By name, or the shell that looks for it would find itself.
    find = "grep -lx triton_python_b /proc/[0-9]*/comm | cut -d/ -f3"
    script = f"for p in $({find}); do grep -q /predictor /proc/$p/cmdline && kill -9 $p && echo killed; done; true"
    assert "killed" in live.inside("triton", "sh", "-c", script)
    began = time.monotonic()
    time.sleep(2)
    live.predict()
    live.note("healed, seconds", round(time.monotonic() - began))
    well(live)


@pytest.mark.parametrize("service", RESTARTED)
def test_after_a_restart_everything_comes_back_by_itself(live: Project, service: str) -> None:
    live.timed(f"restart of {service}", "restart", service)
    seconds = until(lambda: not live.unwell(), 400, f"well after a restart of {service}")
    live.note(f"well after a restart of {service}, seconds", round(seconds))
    live.predict()


def test_down_and_up_keeps_what_there_was(live: Project) -> None:
    before = live.predict()
    until(lambda: live.rows("SELECT count(*) > 0 FROM served_requests") == "t", 60, "a row is logged")
    rows = int(live.rows("SELECT count(*) FROM served_requests"))
    live.timed("down", "down")
    live.timed("up with data", "up", "--wait", "--wait-timeout", "900")
    after = live.predict()
    assert [(a["genre"], a["version"]) for a in after] == [(b["genre"], b["version"]) for b in before]
    assert int(live.rows("SELECT count(*) FROM served_requests")) >= rows


def test_drift_leads_to_the_fallback(live: Project) -> None:
    from genre_assets.demo.traffic import Traffic

    requests = Traffic(live.audio, seconds=10.0, seed=3).drifted()
    folder = live.engine.root / "drifted"
    began = time.monotonic()
    before = int(live.rows("SELECT count(*) FROM drift_windows"))

    def fallback_serves() -> bool:
        return "fallback" in live.rows("SELECT moved_to FROM audit WHERE subject = 'route' ORDER BY id DESC LIMIT 1")

    for window in range(6):
        for number in range(32):
            path = folder / str(window) / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(next(requests).audio)
        live.outside("predict", str(folder / str(window)))
        closed = f"SELECT count(*) > {before + window} FROM drift_windows"
        until(lambda closed=closed: live.rows(closed) == "t", 180, f"drifted window {window} is closed")  # type: ignore[misc]
        if fallback_serves():
            break
    until(fallback_serves, 120, "the fallback serves after six drifted windows")
    live.note("drift to the fallback, seconds", round(time.monotonic() - began))
    assert "fallback" in live.inside("dagster-code", "genre-assets", "history", "--json")


def test_features_of_new_clips_are_computed_on_dask(live: Project) -> None:
    """A scheduler and two workers of the platform's own image, as the values for Dask's chart have them."""
    scheduler = "tcp://dask-scheduler:8786"
    names = {"dask-scheduler": ("dask-scheduler",)} | {
        f"dask-{n}": ("dask-worker", scheduler, "--nthreads=1") for n in (1, 2)
    }
    limits = ("--rm", "-d", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=genre-assets_data")
    try:
        for name, command in names.items():
            live.engine.docker("run", *limits, f"--name={name}", "genre-assets-platform", *command, "--no-dashboard")
        with (live.folder / ".env").open("a") as file:
            file.write(f"GENRE_DASK_SCHEDULER={scheduler}\n")
        live.compose("up", "--wait", "dagster-code")
        more = live.engine.root / "more"
        write_sample_set(more, seed=8, each=2)
        live.outside("ingest", str(more))
        live.inside("dagster-code", "genre-assets", "run", "ingest")
        ask = f"""if True:
            from distributed import Client
            client = Client({scheduler!r})
            print(*client.run(lambda dask_worker: len(dask_worker.state.log)).values())
        """
        worked = live.inside("dagster-code", "python", "-c", ask).split()
        live.note("lines in the logs of Dask's workers", worked)
        assert len(worked) == 2
        assert all(int(lines) > 0 for lines in worked)
    finally:
        live.engine.docker("rm", "-f", *names, check=False)


def test_a_backup_is_put_back_into_an_empty_stack(live: Project) -> None:
    """By the commands of docs/howto/backup.md."""
    before = live.predict()
    kept = live.engine.root / "backups"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    os.chown(kept, 10001, 10001)
    command = ("run", "--rm", "-T", "--no-deps", f"--volume={kept}:/backups", "dagster-code", "genre-assets")
    live.timed("backup", *command, "backup", "/backups/monday")
    live.compose("down", "-v")
    live.compose("up", "--wait", "postgres", "s3")
    live.compose("run", "--rm", "-T", "init")
    live.timed("restore", *command, "restore", "/backups/monday", "--sign")
    live.timed("up with what was restored", "up", "--wait", "--wait-timeout", "900")
    after = live.predict()
    assert [(a["genre"], a["version"], a["probabilities"]) for a in after] == [
        (b["genre"], b["version"], b["probabilities"]) for b in before
    ]
