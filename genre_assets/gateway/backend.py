"""What the pages and the API ask: the ensemble, the database, the object store; made once for the process."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from genre_assets.database import Database
from genre_assets.errors import BadInput, PermanentFailure, TransientFailure
from genre_assets.gateway.access.doorkeeper import Doorkeeper
from genre_assets.gateway.exporter.collector import PlatformFacts
from genre_assets.gateway.tables import BAD_INPUT
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.triton.client.aio import AsyncGenreClient

ANSWER_SECONDS = 30.0  # for one request to the ensemble, with its retries
PROCESS_SECONDS = 90.0
Result = TypeVar("Result")


class Backend:
    """The platform as the gateway knows it.

    Parameters
    ----------
    settings : where everything is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database_url.get_secret_value())
        self.doorkeeper = Doorkeeper(self.database)
        self.store = ObjectStore(s3_client(settings, read_seconds=10, attempts=2))
        self.facts = PlatformFacts(settings, self.database, self.store)
        self.client = AsyncGenreClient.from_settings(settings, deadline_s=ANSWER_SECONDS, tag="gateway")

    async def ask(self, question: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        """Ask what blocks (the database, S3) in a thread."""
        return await asyncio.to_thread(question, *arguments, **options)

    async def table(self, *arguments: str) -> list[dict[str, Any]]:
        """Rows that take the libraries for tables; see `said_by`."""
        rows: list[dict[str, Any]] = json.loads(await self.said_by("genre_assets.gateway.tables", *arguments))
        return rows

    async def said_by(self, module: str, *arguments: str) -> str:
        """What a module prints: what takes large libraries is done by a process of its own, so that this one stays small.

        Raises `PermanentFailure` with the error that the process ends with, or `BadInput` where it says so by its exit code;
        `TransientFailure` if it takes too long.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(PROCESS_SECONDS):
                out, said = await process.communicate()
        except TimeoutError:
            raise TransientFailure(f"{arguments[0]} took longer than {PROCESS_SECONDS:g} s; try again") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"{arguments[0]} ended with code {process.returncode}"
            raise (BadInput if process.returncode == BAD_INPUT else PermanentFailure)(why.removeprefix("error: "))
        return out.decode()

    async def close(self) -> None:
        """Close the connection to the ensemble."""
        await self.client.close()


def of_request(request: Request) -> Backend:
    """The process's own."""
    backend: Backend = request.app.state.backend
    return backend


Here = Annotated[Backend, Depends(of_request)]
