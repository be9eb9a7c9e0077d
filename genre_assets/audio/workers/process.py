"""A worker process: gets functions and tasks over a pipe, and answers with results. Started by `pool`, not by people.

It imports neither Dagster nor pandas, so it starts in half a second and stays small.
"""

import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from genre_assets.errors import GenreError
from genre_assets.store import ObjectStore, s3_client

READY = "ready"
GONE = (EOFError, BrokenPipeError, ConnectionResetError)  # the other end of the pipe is


def main(descriptor: int) -> None:
    """Serve until the other end is closed, whenever that is: its owner may have been interrupted."""
    with Connection(descriptor) as pipe:
        answer: object = READY
        try:
            settings, function = pipe.recv()
        except GONE:
            return
        store = ObjectStore(s3_client(settings))
        while True:
            try:
                pipe.send(answer)
                task = pipe.recv()
            except GONE:
                return
            answer = _answered(function, store, task)


def _answered(function: Callable[[ObjectStore, Any], object], store: ObjectStore, task: Any) -> tuple[bool, object]:
    try:
        return True, function(store, task)
    except GenreError as error:  # the caller raises it again
        return False, error


if __name__ == "__main__":
    main(int(sys.argv[1]))
