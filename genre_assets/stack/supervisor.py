"""The process behind `genre-assets up`: keeps every service, writes where each stands, stops all in reverse order.

Run as `python -m genre_assets.stack.supervisor`; one for each state folder, which a file lock makes sure of.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from types import FrameType

from genre_assets.disk.whole import write_whole
from genre_assets.processes import kill, orphan_processes
from genre_assets.serving.alerts import channels
from genre_assets.settings import load_settings
from genre_assets.stack.closed_folder import OWNER_ONLY
from genre_assets.stack.services.catalogue import RELOADED, services
from genre_assets.stack.supervision.keeper import Keeper
from genre_assets.stack.supervision.log_files import rotate
from genre_assets.stack.supervision.notifier import Notifier
from genre_assets.stack.supervision.run_files import lock_file, state_file
from genre_assets.stack.supervision.service import Service

LOOK_SECONDS = 3.0  # between two notes of having looked


class Supervisor:
    """Starts the services as what they need becomes healthy; stops them in reverse order.

    SIGHUP starts those anew that read settings which may change while the others serve.
    """

    def __init__(self, services: list[Service], home: Path, notifier: Notifier | None = None) -> None:
        self.home = home
        self.keepers = [Keeper(service, self._healthy, self._write) for service in services]
        self.notifier = notifier or Notifier(home, [])
        self.ending = threading.Event()
        self.writing = threading.Lock()
        self.reloading = threading.Event()
        self.looked_at = time.time()

    def run(self) -> None:
        """Keep the services until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._reload)
        self._write()
        self.notifier.start()
        for keeper in self.keepers:
            keeper.start()
        while not self.ending.wait(0.5):
            if time.time() - self.looked_at > LOOK_SECONDS:
                self.looked_at = time.time()
                self._write()
            if self.reloading.is_set():
                self.reloading.clear()
                self._renew()
            for log in (self.home / "logs").glob("*.log"):
                rotate(log)
            standings = {keeper.service.name: keeper.standing for keeper in self.keepers}
            self.notifier.look(standings, needs={keeper.service.name: keeper.service.needs for keeper in self.keepers})
        self.stop()

    def stop(self) -> None:
        """Stop the services, the last started first."""
        for keeper in reversed(self.keepers):
            keeper.end()
            keeper.join(keeper.service.stop_timeout + 15)
        state_file(self.home).unlink(missing_ok=True)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.ending.set()

    def _renew(self) -> None:
        """The last first, and none starts before all are gone: else the daemon hands runs to a code server that ends."""
        chosen = [keeper for keeper in self.keepers if keeper.service.name in RELOADED]
        for keeper in reversed(chosen):
            keeper.halt()
        for keeper in chosen:
            keeper.go_on()

    def _reload(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.reloading.set()

    def _healthy(self, name: str) -> bool:
        return any(keeper.service.name == name and keeper.standing.state == "healthy" for keeper in self.keepers)

    def _write(self) -> None:
        with self.writing:
            services = {keeper.service.name: asdict(keeper.standing) for keeper in self.keepers}
            target = state_file(self.home)
            target.parent.mkdir(parents=True, exist_ok=True)
            written = {"pid": os.getpid(), "looked_at": self.looked_at, "services": services}
            write_whole(target, json.dumps(written, indent=1))


def main() -> None:
    """Take the lock, end orphan processes of a killed predecessor, keep the services."""
    os.umask(OWNER_ONLY)
    settings = load_settings()
    lock_file(settings.home).parent.mkdir(parents=True, exist_ok=True)
    with lock_file(settings.home).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"a supervisor runs in {settings.home} already")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        state_file(settings.home).unlink(missing_ok=True)  # a killed predecessor's, which says what was
        kill(orphan_processes(settings.home))
        repeat = timedelta(seconds=settings.alert_repeat_seconds)
        notifier = Notifier(settings.home, channels.from_settings(settings), repeat=repeat)
        Supervisor(services(settings), settings.home, notifier).run()


if __name__ == "__main__":
    main()
