"""A worker process: gets functions and tasks over a pipe, and answers with results. Started by `workers`, not by people.

It imports neither Dagster nor pandas, so it starts in half a second and stays small.
"""

import sys
from multiprocessing.connection import Connection

from genre_assets.errors import GenreError
from genre_assets.store import ObjectStore, s3_client

READY = "ready"


def main(descriptor: int) -> None:
    """Serve until the other end is closed."""
    with Connection(descriptor) as pipe:
        settings, function = pipe.recv()
        store = ObjectStore(s3_client(settings))
        pipe.send(READY)
        while True:
            try:
                task = pipe.recv()
            except EOFError:
                return
            try:
                answer: tuple[bool, object] = (True, function(store, task))
            except GenreError as error:  # the caller raises it again
                answer = (False, error)
            pipe.send(answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
