"""`/v1/route`: which model serves, and to move it by hand, by the commands that a person types: `promote` and `rollback`."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import key_of, needs
from genre_assets.gateway.backend import Backend, Here
from genre_assets.serving.promotion import route_state

router = APIRouter(prefix="/v1", tags=["route"], dependencies=[needs(Scope.OPERATE)])
Role = Literal["champion", "fallback"]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S", description="Goes into the audit table.")]


class Move(BaseModel):
    """Let the champion or the fallback serve."""

    route: Role
    reason: Reason
    pinned: bool = Field(False, description="Hold it, whatever drift says, until the next move by hand.")


class Rollback(BaseModel):
    """Let an earlier version of a model be the champion (or the fallback) again."""

    version: int = Field(ge=1, lt=2**31, description="Its number in the registry.")
    role: Role = "champion"
    reason: Reason


class Launched(BaseModel):
    """The run that does it. It is done when the run has succeeded: `/v1/route` says what serves."""

    run: str = Field(description="Address of its page in Dagster.")


@router.get("/route", summary="Which model serves, and the move that is open")
async def route(backend: Here) -> dict[str, Any]:
    """As the books have it. `open` is a move that is decided and not yet made."""
    standing = await backend.ask(route_state.standing, backend.database)
    serving, due = standing.serving, standing.due
    return {
        "serving": {"route": serving.route, "pinned": serving.pinned} if serving else None,
        "open": {"route": due.route, "actor": due.actor, "reason": due.reason} if due else None,
    }


@router.post("/route", status_code=HTTPStatus.ACCEPTED, summary="Let the champion or the fallback serve")
async def move(wanted: Move, request: Request, backend: Here) -> Launched:
    """Launches the job `promote`. Without `pinned` a pin that was set is lifted."""
    pin = ["--pin"] if wanted.pinned else []
    return await _launched(backend, "promote", wanted.route, f"--reason={_signed(wanted.reason, request)}", *pin)


@router.post("/rollback", status_code=HTTPStatus.ACCEPTED, summary="Go back to an earlier version of a model")
async def rollback(wanted: Rollback, request: Request, backend: Here) -> Launched:
    """Moves the alias in the registry, then launches the job `release`, which serves it."""
    role = ["--fallback"] if wanted.role == "fallback" else []
    reason = f"--reason={_signed(wanted.reason, request)}"
    return await _launched(backend, "rollback", str(wanted.version), reason, *role)


def _signed(reason: str, request: Request) -> str:
    """The reason, with the key by which it was given."""
    key = key_of(request)
    return f"{reason.strip()} (key {key.name})" if key else reason.strip()


async def _launched(backend: Backend, *words: str) -> Launched:
    said = await backend.said_by("genre_assets.cli", *words, "--no-wait")
    return Launched(run=said.split()[-1])
