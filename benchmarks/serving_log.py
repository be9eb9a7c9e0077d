"""Rows logged against items answered, through a ten-second database outage and a SIGKILL of each model's process."""

import os
import signal
import tempfile
import threading
import time
import uuid
from pathlib import Path

from benchmarks import servingstack as bench_of
from benchmarks.figures import Result
from benchmarks.serving_switches import Clients
from genre_assets.database import Database
from genre_assets.inference.request_log import read
from genre_assets.processes import children
from genre_assets.settings import load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.triton_watchdog import Watchdog, model_of
from genre_assets.triton.protocol import step_of
from genre_assets_tests.conftest import free_port, running

OUTAGE = 10.0


def run() -> list[Result]:
    """One server, one database, eight clients, all the faults in turn."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path(folder), postgres_port=free_port())
        postgres = Postgres(settings, password=uuid.uuid4().hex)
        with running(postgres):
            url = postgres.url("genre")
            with bench_of.bench(variables={"GENRE_DATABASE_URL": url}) as live:
                clients = Clients(live.server.grpc, log=True)
                clients.during(lambda: faults(live, postgres))
                drained = wait_until_logged(live)
                logged = len(read(Database(url)))
    answered = clients.answered
    ratio = logged / answered
    return [
        bench_of.figure(
            "rows logged / items answered, 10 s outage and a kill of each stub", ratio, "", "1", ratio == 1.0
        ),
        bench_of.figure("items answered meanwhile", answered, ""),
        bench_of.figure("requests failed meanwhile", len(clients.failures), "", "0", not clients.failures),
        bench_of.figure("seconds until the spool was empty after it", drained, "s"),
    ]


def faults(live: bench_of.Bench, postgres: Postgres) -> None:
    """The database hangs for ten seconds; then a process of each model is killed, and the watchdog revives it."""
    ending = threading.Event()
    watchdog = Watchdog(live.repository, live.server.control)

    def watch() -> None:
        while not ending.wait(1.0):
            watchdog.revive(live.server.pid)

    watching = threading.Thread(target=watch)
    watching.start()
    time.sleep(2)
    server = int((postgres.data / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGSTOP)
    time.sleep(OUTAGE)
    os.kill(server, signal.SIGCONT)
    for model in ("pre_processor", "predictor", "post_processor"):
        stub = next(pid for pid, _, words in children(live.server.pid) if step_of(model_of(words) or "") == model)
        os.kill(stub, signal.SIGKILL)
        time.sleep(6)
    ending.set()
    watching.join()


def wait_until_logged(live: bench_of.Bench) -> float:
    """Seconds until nothing waits in the spool."""
    started = time.monotonic()
    spool = live.settings.home / "triton" / "spool"
    while list(spool.glob("*")) and time.monotonic() - started < 60:
        time.sleep(0.1)
    return time.monotonic() - started
