"""What a running supervisor leaves in the state folder for others to see: its lock, and how each service stands."""

import fcntl
import json
from pathlib import Path
from typing import Any

from genre_assets.errors import BadInput


def state_file(home: Path) -> Path:
    """Where the supervisor writes how each service stands; absent when no supervisor runs."""
    return home / "run" / "state.json"


def lock_file(home: Path) -> Path:
    """Locked while a supervisor runs in `home`, and holds its process id."""
    return home / "run" / "supervisor.lock"


def written_state(home: Path) -> dict[str, Any]:
    """What the state file says; it may be a killed supervisor's."""
    try:
        state: dict[str, Any] = json.loads(state_file(home).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state


def supervisor_pid(home: Path) -> int | None:
    """Process id of the supervisor that runs in `home`. Raises `BadInput` if the folder is another user's."""
    try:
        with lock_file(home).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise BadInput(f"{home} belongs to another user ({error}); set GENRE_HOME to a folder of your own") from None
    except BlockingIOError:
        written = lock_file(home).read_text().strip()
        # The first version wrote its process id into the state file only.
        return int(written or written_state(home).get("pid") or 0) or None
    return None
