"""The local stack as one thing: up, down, status.

Its settings are kept in `<home>/stack.env`; see `configuration.py`.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genre_assets.database import Database
from genre_assets.errors import GenreError, PermanentFailure
from genre_assets.processes import MARKER, kill, orphan_processes, stopped_members, wait_until_gone
from genre_assets.settings import Settings, load_settings
from genre_assets.shipped.servers import ensure
from genre_assets.stack.closed_folder import close_to_others
from genre_assets.stack.configuration import configure, only_dagster_reads, remembered, stated_outside
from genre_assets.stack.services import graphql
from genre_assets.stack.services.catalogue import RELOADED, services
from genre_assets.stack.services.database_roles import let_append
from genre_assets.stack.services.graphql import DO_NOT_LOAD
from genre_assets.stack.services.triton_door import TritonDoor
from genre_assets.stack.supervision import supervisor_light
from genre_assets.stack.supervision.lights import Beside, Finding, ask_all
from genre_assets.stack.supervision.log_files import append
from genre_assets.stack.supervision.run_files import state_file, supervisor_pid, written_state
from genre_assets.stack.supervision.service import Health, check_port_free
from genre_assets.stack.supervision.supervisor_light import SUPERVISOR
from genre_assets.triton.control import TritonControl

Report = Callable[[str], None]
STATUS_SECONDS = 1.5  # for the services' answers, with two seconds for the command
FRESH_SECONDS = 20.0  # so old may be what the supervisor saw
SUPERVISOR_SECONDS = 10.0  # for the supervisor to come up
IDLE_SECONDS = 180.0  # for the runs that go on to end, before Dagster's processes are started anew
RENEWAL_SECONDS = 90.0  # for those to be gone
ROUTE = "route"
FALLBACK = "fallback"
AWAY = frozenset({"restarting", "starting", "unhealthy", "failed"})


@dataclass(frozen=True)
class Status:
    """The services by name, the route that serves, whether there is a fallback (None: none does, or not known), and what does not fit."""

    services: dict[str, dict[str, Any]]
    route: str | None
    fallback: bool | None = None
    versions: list[Finding] = field(default_factory=list)


def up(home: Path | None = None, *, extra: dict[str, str] | None = None, report: Report = print) -> Settings:
    """Start what is not up and wait until every service is healthy.

    Raises `BadInput` for a taken port, `PermanentFailure` with the end of its log for a service that does not start.
    """
    before = load_settings(home)
    was = remembered(before.home)
    settings = configure(home, extra=extra)
    close_to_others(settings.home)
    running = supervisor_pid(settings.home)
    if running and not supervisor_light.health(settings.home).healthy and not supervisor_light.wake(settings.home):
        report("the supervisor hangs: starting it and the services anew")
        down(before, report=report)
        running = None
    now, renewed = remembered(settings.home), 0.0
    changed = {name for name in was.keys() | now.keys() if was.get(name) != now.get(name)}
    if running and changed and only_dagster_reads(changed):
        report("settings have changed: restarting Dagster's code server and daemon")
        _reload(settings, running, report)
        renewed = time.time()
    elif running and changed:
        report("settings have changed: restarting the services")
        down(before, report=report)
        running = None
    if not running:
        _remove_leftovers(settings)
        ensure(settings.home, report)
        for service in services(settings):
            for setting, port in service.ports.items():
                check_port_free(settings.host, port, setting)
        state_file(settings.home).unlink(missing_ok=True)  # a killed supervisor's, which says what was
        _spawn_supervisor(settings)
    _wait_for_health(settings, report)
    graphql.wait_for_definitions(settings.dagster_url, renewed)  # the webserver may show those of before for a moment
    Database(settings.database_url.get_secret_value()).version()  # Triton's log needs the tables, and cannot make them
    if settings.appender_database_url.get_secret_value():
        let_append(settings)
    return settings


def _reload(settings: Settings, supervisor: int, report: Report) -> None:
    """Have Dagster's processes read the settings anew, once no run waits or goes on (or after some minutes)."""
    end = time.monotonic() + IDLE_SECONDS
    told = False
    with suppress(GenreError):  # Dagster is away: nothing is lost
        while (runs := graphql.unfinished_runs(settings.dagster_url)) and time.monotonic() < end:
            if not told:
                report(f"waiting for {runs} unfinished runs to end")
                told = True
            time.sleep(0.5)
    before = _processes(settings.home)
    os.kill(supervisor, signal.SIGHUP)
    end = time.monotonic() + RENEWAL_SECONDS
    while before.items() & _processes(settings.home).items() and time.monotonic() < end:
        time.sleep(0.1)


def _processes(home: Path) -> dict[str, int | None]:
    standings = written_state(home).get("services", {})
    return {name: standing["pid"] for name, standing in standings.items() if name in RELOADED}


def down(settings: Settings, *, report: Report = print) -> bool:
    """Stop every service and leave no process, port or shared-memory file; data and logs stay in the state folder.

    Returns whether there was any process to stop.
    """
    pid = supervisor_pid(settings.home)
    if pid:
        report("stopping the services")
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)  # a stopped one takes no other signal
        if not wait_until_gone(pid, 90):
            report("the supervisor does not stop by itself: killing it")
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid, 5)
    left_over = _remove_leftovers(settings)
    state_file(settings.home).unlink(missing_ok=True)
    return bool(pid or left_over)


def status(settings: Settings, seconds: float = STATUS_SECONDS, beside: Beside | None = None) -> Status:
    """Each service's own answer, or, where it takes too long, the supervisor's last one; else unknown.

    Only a service of this folder's supervisor is asked: another stack may listen on the same ports. Answers within
    `seconds` whatever hangs.
    """
    known = services(settings)
    control = TritonControl(settings.triton_http, timeout=seconds)
    kept = supervisor_pid(settings.home) is not None
    supervisor = supervisor_light.health(settings.home)
    state = written_state(settings.home).get("services", {}) if kept else {}
    running = [service for service in known if state.get(service.name, {}).get("pid")]
    questions: dict[str, Callable[[], Health]] = {service.name: service.health for service in running}
    if TritonDoor.name in questions:
        questions[ROUTE] = lambda: Health(True, control.route() or "")
        questions[FALLBACK] = lambda: _whether(control.has_fallback())
    answers = ask_all({**questions, **(beside.questions() if beside else {})}, seconds)
    found = {SUPERVISOR: _entry(supervisor, restarts=0)}
    for service in known:
        standing = state.get(service.name, {})
        health = answers.get(service.name) or Health(False, _why_not_running(standing, kept=kept))
        if not health.known:
            health = _as_last_seen(standing, health.why)
        why = standing["why"] if standing.get("state") == "failed" else health.why
        entry = service.addresses() | _entry(replace(health, why=why), restarts=standing.get("restarts", 0))
        if standing.get("last_restart"):
            entry["last_restart"] = standing["last_restart"]
        found[service.name] = entry
    route = answers.get(ROUTE)
    spare = answers.get(FALLBACK)
    told = spare is not None and spare.known and not spare.why  # with a why, nobody answered
    return Status(
        found,
        route=(route.why or None) if route and route.healthy else None,
        fallback=spare.healthy if spare is not None and told else None,
        versions=beside.findings(answers) if beside else [],
    )


def _whether(found: bool | None) -> Health:
    return Health(bool(found), known=found is not None)


def _entry(health: Health, *, restarts: int) -> dict[str, Any]:
    light = "healthy" if health.healthy else "unhealthy" if health.known else "unknown"
    return {
        "healthy": health.healthy,
        "light": light,
        **({"why": health.why} if health.why else {}),
        "restarts": restarts,
    }


def _why_not_running(standing: dict[str, Any], *, kept: bool) -> str:
    if not kept:
        return "no supervisor runs: genre-assets up"
    return f"{standing.get('state', 'not started')}: {standing.get('why') or 'it has no process yet'}"


def _as_last_seen(standing: dict[str, Any], why: str) -> Health:
    """What the supervisor saw, if that is not long ago and no process was stopped since."""
    age = time.time() - standing.get("checked_at", 0.0)
    if (pid := standing.get("pid")) and (stopped := stopped_members(pid)):
        return Health(False, f"process {stopped[0]} is stopped (SIGSTOP)")
    if standing.get("state") in {None, "unknown"} or age > FRESH_SECONDS:
        return Health(False, standing.get("why") or "it does not answer in time", known=False)
    said = standing["why"] or why
    return Health(standing["state"] == "healthy", f"{said}; the supervisor saw it {standing['state']} {age:.0f} s ago")


def _spawn_supervisor(settings: Settings) -> None:
    log = settings.home / "logs" / "supervisor.log"
    # What this shell states is in `stack.env` by now; in the supervisor's environment it would win over every later `up`.
    kept = {name: value for name, value in os.environ.items() if name not in stated_outside()}
    environment = {**kept, "GENRE_HOME": str(settings.home), MARKER: str(settings.home)}
    with append(log) as output:
        subprocess.Popen(
            [sys.executable, "-m", "genre_assets.stack.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=settings.home,
            start_new_session=True,
        )


def _wait_for_health(settings: Settings, report: Report, timeout: float = 240.0) -> None:
    shown: dict[str, str] = {}
    end = time.monotonic() + timeout
    gone_since: float | None = None
    while time.monotonic() < end:
        running = supervisor_pid(settings.home)
        gone_since = None if running else gone_since or time.monotonic()
        if gone_since is not None and time.monotonic() - gone_since > SUPERVISOR_SECONDS:
            raise PermanentFailure(f"the supervisor does not run:\n{_log_tail(settings, 'supervisor')}")
        state = written_state(settings.home)
        standings = state.get("services", {}) if running and state.get("pid") == running else {}
        for name, standing in standings.items():
            if standing["state"] != shown.get(name) and standing["state"] in {"healthy", "restarting", "failed"}:
                why = f": {standing['why']}" if standing["why"] else ""
                report(f"{name} is {standing['state']}{why}")
            shown[name] = standing["state"]
            if DO_NOT_LOAD in standing["why"]:  # waiting cannot help; the services stay up for the next try
                raise PermanentFailure(f"{standing['why']}\nMend the code, then: genre-assets up")
            if standing["state"] == "failed":
                message = f"{name} does not start: {standing['why']}\n{_log_tail(settings, name)}"
                down(settings, report=report)
                raise PermanentFailure(message)
        if standings and all(standing["state"] == "healthy" for standing in standings.values()):
            return
        time.sleep(0.15)
    waiting = [name for name, state in shown.items() if state != "healthy"] or ["the supervisor"]
    logs = settings.home / "logs"
    raise PermanentFailure(f"not healthy after {timeout:.0f} s: {', '.join(waiting)}; the logs are in {logs}")


def _log_tail(settings: Settings, name: str, lines: int = 12) -> str:
    log = settings.home / "logs" / f"{name}.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(it wrote no log)"


def _remove_leftovers(settings: Settings) -> int:
    """Returns how many processes a supervisor that is gone had left."""
    left_over = orphan_processes(settings.home)
    kill(left_over)
    for service in services(settings):
        service.cleanup()
    shutil.rmtree(settings.home / "postgres.new", ignore_errors=True)
    return len(left_over)
