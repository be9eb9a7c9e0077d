"""The local stack as one thing: up, down, status.

Its settings are kept in `<home>/stack.env`; see `configuration.py`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre_assets.errors import PermanentFailure
from genre_assets.serving.control import TritonControl
from genre_assets.settings import Settings, load_settings
from genre_assets.stack.closed_folder import close_to_others
from genre_assets.stack.configuration import configure
from genre_assets.stack.graphql import DO_NOT_LOAD
from genre_assets.stack.lights import ask_all
from genre_assets.stack.log_files import append
from genre_assets.stack.processes import MARKER, kill, stopped_members, strays, wait_until_gone
from genre_assets.stack.run_files import state_file, supervisor_pid, written_state
from genre_assets.stack.service import Health, check_port_free
from genre_assets.stack.services import services

Report = Callable[[str], None]
STATUS_SECONDS = 1.5  # for the services' answers, with two seconds for the command
FRESH_SECONDS = 20.0  # so old may be what the supervisor saw
SUPERVISOR_SECONDS = 10.0  # for the supervisor to come up
ROUTE = "route"
AWAY = frozenset({"restarting", "starting", "unhealthy", "failed"})


@dataclass(frozen=True)
class Status:
    """The services by name, and the route that serves (None if none does, or it cannot be told)."""

    services: dict[str, dict[str, Any]]
    route: str | None


def up(home: Path | None = None, *, extra: dict[str, str] | None = None, report: Report = print) -> Settings:
    """Start what is not up and wait until every service is healthy.

    Raises `BadInput` for a taken port, `PermanentFailure` with the end of its log for a service that does not start.
    """
    before = load_settings(home)
    was = (before.home / "stack.env").read_text() if (before.home / "stack.env").exists() else ""
    settings = configure(home, extra=extra)
    close_to_others(settings.home)
    running = supervisor_pid(settings.home)
    if running and was != (settings.home / "stack.env").read_text():
        report("settings have changed: restarting the services")
        down(before, report=report)
        running = None
    if not running:
        _remove_leftovers(settings)
        for service in services(settings):
            for setting, port in service.ports.items():
                check_port_free(settings.host, port, setting)
        state_file(settings.home).unlink(missing_ok=True)  # a killed supervisor's, which says what was
        _spawn_supervisor(settings)
    _wait_for_health(settings, report)
    return settings


def down(settings: Settings, *, report: Report = print) -> None:
    """Stop every service and leave no process, port or shared-memory file; data and logs stay in the state folder."""
    pid = supervisor_pid(settings.home)
    if pid:
        report("stopping the services")
        os.kill(pid, 15)
        if not wait_until_gone(pid, 90):
            report("the supervisor does not stop by itself: killing it")
            os.kill(pid, 9)
            wait_until_gone(pid, 5)
    _remove_leftovers(settings)
    state_file(settings.home).unlink(missing_ok=True)


def status(settings: Settings, seconds: float = STATUS_SECONDS) -> Status:
    """Each service's own answer, or, where it takes too long, the supervisor's last one; else unknown.

    Only a service of this folder's supervisor is asked: another stack may listen on the same ports. Answers within
    `seconds` whatever hangs.
    """
    known = services(settings)
    control = TritonControl(settings.triton_http, timeout=seconds)
    kept = supervisor_pid(settings.home) is not None
    state = written_state(settings.home).get("services", {}) if kept else {}
    running = [service for service in known if state.get(service.name, {}).get("pid")]
    questions: dict[str, Callable[[], Health]] = {service.name: service.health for service in running}
    if "triton" in questions:
        questions[ROUTE] = lambda: Health(True, control.route() or "")
    answers = ask_all(questions, seconds)
    found = {}
    for service in known:
        standing = state.get(service.name, {})
        health = answers.get(service.name) or Health(False, _why_not_running(standing, kept=kept))
        if not health.known:
            health = _as_last_seen(standing, health.why)
        why = standing["why"] if standing.get("state") == "failed" else health.why
        light = "healthy" if health.healthy else "unhealthy" if health.known else "unknown"
        entry: dict[str, Any] = {"healthy": health.healthy, "light": light, **service.addresses()}
        if why:
            entry["why"] = why
        entry["restarts"] = standing.get("restarts", 0)
        if standing.get("last_restart"):
            entry["last_restart"] = standing["last_restart"]
        found[service.name] = entry
    route = answers.get(ROUTE)
    return Status(found, (route.why or None) if route and route.healthy else None)


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
    environment = {**os.environ, "GENRE_HOME": str(settings.home), MARKER: str(settings.home)}
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


def _remove_leftovers(settings: Settings) -> None:
    kill(strays(settings.home))
    for service in services(settings):
        service.cleanup()
    shutil.rmtree(settings.home / "postgres.new", ignore_errors=True)
