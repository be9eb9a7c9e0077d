"""What the platform knows, as JSON: labels, windows, alerts, lists, health, metrics; and the sound behind an address."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.errors import GenreError
from genre_assets.gateway import sound
from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import needs
from genre_assets.gateway.backend import Backend, Here
from genre_assets.gateway.problems import Problem
from genre_assets.serving.alerts import listing
from genre_assets.serving.drift import window_store
from genre_assets.serving.drift.window_store import DriftResult
from genre_assets.triton.control import TritonControl

router = APIRouter(prefix="/v1", tags=["platform"])
HEALTH_SECONDS = 2.0
OPERATOR = needs(Scope.OPERATE)
Limit = Annotated[int, Query(ge=1, le=1000)]


class Light(BaseModel):
    """Whether something answers: `unknown` is what nobody can tell in time."""

    state: Literal["healthy", "unhealthy", "unknown"]
    why: str = ""


@router.get("/live", include_in_schema=False)
async def live() -> dict[str, str]:
    """Whether this process answers; it says nothing of the rest."""
    return {"state": "healthy"}


@router.get("/health", summary="Whether the services behind the gateway answer")
async def health(backend: Here, response: Response) -> dict[str, Light]:
    """503 if one does not."""
    control = TritonControl.from_settings(backend.settings)
    questions: dict[str, Callable[[], object]] = {
        "ensemble": control.ready,
        "database": lambda: backend.database.rows("SELECT 1 AS one"),
        "object_store": lambda: backend.store.has_bucket(backend.settings.raw_bucket),
    }
    found = await asyncio.gather(*(_light(backend.ask(question)) for question in questions.values()))
    if any(light.state != "healthy" for light in found):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return dict(zip(questions, found, strict=True))


async def _light(answer: Awaitable[object]) -> Light:
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            well = await answer
    except TimeoutError:
        return Light(state="unknown", why=f"no answer within {HEALTH_SECONDS:g} s")
    except GenreError as error:
        return Light(state="unhealthy", why=str(error))
    return Light(state="healthy") if well else Light(state="unhealthy", why="it is not ready")


@router.get("/metrics", include_in_schema=False)
async def metrics(backend: Here) -> Response:
    """Of this process and of the platform, for Prometheus; what is not known is absent. No key: its scraper has none."""
    return Response(await backend.ask(backend.facts.text), media_type=CONTENT_TYPE_LATEST)


@router.get("/labels", dependencies=[needs(*Scope)], summary="The label set")
async def labels(backend: Here) -> dict[str, Any]:
    """In the order of the models' probabilities, with the version that answers carry."""
    known = await backend.ask(label_set.read, backend.store, backend.settings)
    return {"version": known.version, "labels": list(known.names)}


@router.get(
    "/windows", dependencies=[OPERATOR], summary="The newest windows of answered items, and what was found in them"
)
async def windows(backend: Here, limit: Limit = 50) -> dict[str, list[dict[str, Any]]]:
    """The newest first."""
    found = await backend.ask(window_store.newest, backend.database, limit)
    return {"windows": [window_as_json(result) for result in found]}


def window_as_json(result: DriftResult) -> dict[str, Any]:
    """A window with its findings, and where its report opens."""
    return {**result.as_json(), "report": f"/v1/windows/{result.window.id}/report" if result.report else None}


@router.get("/windows/{window}/report", include_in_schema=False, dependencies=[OPERATOR])
async def report(window: str, backend: Here) -> Response:
    """The page of a window as it was drawn; its scripts run in a sandbox of their own."""
    result = await backend.ask(window_store.by_id, backend.database, window)
    if result is None or result.report is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no report of a window {window[:100]!r}")
    content = await backend.ask(backend.store.get_bytes, backend.settings.serving_bucket, result.report)
    if result.report == keys.report(window, "html"):
        # It brings its own scripts and styles inline; the sandbox keeps them from this origin.
        return HTMLResponse(content, headers={"Content-Security-Policy": "sandbox allow-scripts"})
    return Response(content, media_type="application/json")


@router.get("/alerts", dependencies=[OPERATOR], summary="The alerts that are open")
async def alerts(backend: Here, *, resolved: bool = False, limit: Limit = 100) -> dict[str, list[dict[str, Any]]]:
    """Those of the supervisor, and those of the platform; with `resolved`, the others too."""
    return {"alerts": [alert.as_json() for alert in await shown_alerts(backend, resolved=resolved, limit=limit)]}


async def shown_alerts(backend: Backend, *, resolved: bool, limit: int = 100) -> list[listing.Shown]:
    """The supervisor's own, which are there when the database is not, then the platform's."""
    own = await backend.ask(listing.from_file, listing.supervisors_file(backend.settings.home), resolved=resolved)
    return own + await backend.ask(listing.from_database, backend.database, resolved=resolved, limit=limit)


@router.get("/review", dependencies=[needs(Scope.LABEL)], summary="Answered clips that are worth a label")
async def review(backend: Here, limit: Limit = 50) -> dict[str, list[dict[str, Any]]]:
    """The list of `genre-assets review`."""
    return {"clips": await backend.table("review", "--limit", str(limit))}


@router.get("/audio", include_in_schema=False, dependencies=[needs(Scope.LABEL, Scope.OPERATE)])
async def audio(backend: Here, address: str, range_: Annotated[str | None, Header(alias="Range")] = None) -> Response:
    """The bytes behind an `s3://` address in a bucket that clients may name, whole or a range: for players."""
    found = await backend.ask(sound.opened, backend.store, backend.settings, address, range_)
    return StreamingResponse(_parts(found), found.status, headers=found.headers)


async def _parts(found: sound.Opened) -> AsyncIterator[bytes]:
    chunks: Iterator[bytes] = found.chunks()
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk
