"""The process before Triton: the HTTP and the gRPC door. Run as `python -m genre_assets.triton.door`.

It listens at the ports that clients know, and is what they ask; Triton itself listens on ports of its own.
"""

import asyncio
import resource
import signal
import sys

import uvloop

from genre_assets.settings import Settings, load_settings
from genre_assets.triton.door.grpc import GrpcDoor
from genre_assets.triton.door.http import HttpDoor
from genre_assets.triton.door.room import Room
from genre_assets.triton.door.rules import GRACE_SECONDS


async def serve(settings: Settings) -> None:
    """Keep both doors open until SIGTERM or SIGINT."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    room = Room(round(settings.door_memory_mb * 2**20), settings.door_connections)
    key, largest = settings.triton_door_key.get_secret_value(), round(settings.door_max_mb * 2**20)
    http = HttpDoor(settings.triton_inner_http, key, largest, room)
    grpc = GrpcDoor(settings.triton_inner_grpc, key, largest, room)
    await http.start(settings.host, settings.triton_http_port)
    await grpc.start(settings.host, settings.triton_grpc_port)
    watching = asyncio.create_task(room.watch())
    await ending.wait()
    watching.cancel()
    await asyncio.gather(http.stop(GRACE_SECONDS), grpc.stop(GRACE_SECONDS))


def main() -> None:
    """Exit code 1 if a port cannot be had."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a client may be two connections, and 1024 are usual
    try:
        uvloop.run(serve(load_settings()))
    except (OSError, RuntimeError) as error:
        sys.exit(f"the door cannot open: {error}")


if __name__ == "__main__":
    main()
