"""`/v1/quarantine`: files that are used for nothing, and what people decide of them, as `genre-assets quarantine` does."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from genre_assets.audio.tables import decisions
from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import key_of, needs
from genre_assets.gateway.backend import Backend, Here

router = APIRouter(prefix="/v1", tags=["quarantine"], dependencies=[needs(Scope.OPERATE)])
LONGEST_KEY = 1024  # of S3


class File(BaseModel):
    """A file of the raw bucket, and why it is decided so."""

    key: str = Field(min_length=1, max_length=LONGEST_KEY, pattern=r"^[^\x00]+$", examples=["jazz/again.wav"])
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1000,
            pattern=r"^[^\x00]*[^\x00\s][^\x00]*$",
            description="Goes into the audit table.",
        ),
    ]


class Decided(BaseModel):
    """What follows, in a sentence."""

    said: str


@router.get("/quarantine", summary="Files that are used for nothing, with the reason; and those that were dropped")
async def quarantine(
    backend: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> dict[str, list[dict[str, Any]]]:
    """The newest first. `waiting` is a decision that the next refresh carries out."""
    files = await backend.table("quarantine", "--limit", str(limit))
    dropped = await backend.ask(decisions.dropped, backend.store, backend.settings, limit)
    return {"files": files, "dropped": [one.as_json() for one in dropped]}


@router.post("/quarantine/put-back", summary="Use a file in quarantine after all, or bring back a dropped one")
async def put_back(file: File, request: Request, backend: Here) -> Decided:
    """The next refresh uses a copy of a recording instead of the others, and reads any other file again. 422 if it cannot be."""
    return await _decided(backend, "put-back", file, request)


@router.post("/quarantine/drop", summary="Take a file in quarantine out of the raw bucket")
async def drop(file: File, request: Request, backend: Here) -> Decided:
    """It is kept apart: put-back is the way back. 422 for a file that is not in quarantine."""
    return await _decided(backend, "drop", file, request)


async def _decided(backend: Backend, what: str, file: File, request: Request) -> Decided:
    key = key_of(request)
    words = (f"--key={file.key}", f"--reason={file.reason}", f"--by={key.name if key else 'person'}")
    (row,) = await backend.table(what, *words)
    return Decided(said=row["said"])
