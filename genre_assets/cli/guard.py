"""How a command ends: whatever goes wrong is one message for a person and an exit code, never a traceback."""

import functools
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from genre_assets.cli.base import say, say_error
from genre_assets.errors import GenreError, Interrupted, NoStack
from genre_assets.settings import load_settings

FAILED = 1
NOTHING_TO_ACT_ON = 2  # as of a wrong argument
INTERRUPTED = 130  # as shells say it of a process that SIGINT ended
PIPE_CLOSED = 141  # likewise SIGPIPE


def guarded(command: Callable[..., Any], wants_traceback: Callable[[], bool]) -> Callable[..., Any]:
    """The command with every exception turned into a message and an exit code.

    A `GenreError` or an `OSError` (no space, no permission) is its message alone. Anything else is a bug: its traceback
    goes to a file that the message names, or is raised on if `wants_traceback()` (the option `--debug`).
    """

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
            sys.stdout.flush()
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as stop:
            said = str(stop) if isinstance(stop, Interrupted) else ""
            say(f"interrupted: {said}" if said else "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _forget_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        except Exception as error:
            if wants_traceback():
                raise
            say_error(_message(error))
            raise typer.Exit(code_of(error)) from None

    return run


def code_of(error: Exception) -> int:
    """The exit code of a command that ends with the error."""
    return NOTHING_TO_ACT_ON if isinstance(error, NoStack) else FAILED


def _message(error: Exception) -> str:
    if isinstance(error, GenreError):
        return str(error)
    if isinstance(error, OSError):
        return of_os_error(error)
    return (
        f"{type(error).__name__}: {error}\nThis is a bug of genre-assets. Its traceback is in {_written(error)} "
        "(or run the command again with: genre-assets --debug ...); please report it."
    )


def of_os_error(error: OSError) -> str:
    """What the system refused, and of which file."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    said = error.strerror or str(error) or type(error).__name__
    return f"{', '.join(names)}: {said}" if names else said


def _written(error: Exception) -> Path:
    """The file with the traceback: beside the services' logs, or where temporary files go if that cannot be."""
    name = f"command-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = "".join(traceback.format_exception(error))
    try:
        folder = load_settings().home / "logs"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _private_file(folder / name, text)
    except (OSError, GenreError):
        return _private_file(Path(tempfile.mkdtemp(prefix="genre-assets-")) / name, text)


def _private_file(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", errors="backslashreplace") as file:
        file.write(text)
    return path


def _forget_stdout() -> None:
    """Nobody reads it any more: what is still buffered must not fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
