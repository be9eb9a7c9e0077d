"""The pages for people: HTML made here, a little script in `static/`; each shows what the API under `/v1` says."""

from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from genre_assets import audit
from genre_assets import labels as label_set
from genre_assets.audio.tables import decisions
from genre_assets.errors import GenreError
from genre_assets.gateway import newest_release
from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import key_of, needs
from genre_assets.gateway.api_records import shown_alerts, window_as_json
from genre_assets.gateway.backend import Backend, Here
from genre_assets.serving.drift import window_store
from genre_assets.serving.promotion import route_state

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
PAGES = {
    "/": "Try it", "/windows": "Windows", "/review": "Review", "/quarantine": "Quarantine",
    "/alerts": "Alerts", "/models": "Models",
}  # fmt: skip
SCOPES = {"/": Scope.PREDICT, "/review": Scope.LABEL}  # the other pages' is OPERATE
OPERATOR = needs(Scope.OPERATE, page=True)
_templates = Jinja2Templates(Path(__file__).with_name("templates"))
WINDOWS, CLIPS, FILES, MOVES = 50, 50, 500, 50


@router.get("/", dependencies=[needs(Scope.PREDICT, page=True)])
async def try_it(request: Request, backend: Here) -> HTMLResponse:
    """Hear, draw and classify a sound."""
    known, problem = await _labels(backend)
    most = backend.settings.serving_max_item_mb
    return page(request, backend, "try.html", labels=known, problem=problem, most_mb=most)


@router.get("/windows", dependencies=[OPERATOR])
async def windows(request: Request, backend: Here) -> HTMLResponse:
    """What was found in the newest windows, and the moves of the route beside them."""
    found = await backend.ask(window_store.newest, backend.database, WINDOWS)
    moves = await backend.ask(audit.history, backend.database, limit=MOVES, subject="route")
    standing = await backend.ask(route_state.standing, backend.database)
    return page(
        request, backend, "windows.html", windows=[window_as_json(w) for w in found], moves=moves, standing=standing
    )


@router.get("/review", dependencies=[needs(Scope.LABEL, page=True)])
async def review(request: Request, backend: Here) -> HTMLResponse:
    """What is worth a label, to be heard and labelled by keys."""
    known, problem = await _labels(backend)
    clips = await backend.table("review", "--limit", str(CLIPS))
    return page(request, backend, "review.html", clips=clips, labels=known, problem=problem)


@router.get("/quarantine", dependencies=[OPERATOR])
async def quarantine(request: Request, backend: Here) -> HTMLResponse:
    """What is used for nothing, and why; what was dropped; what people decided of such files."""
    files = await backend.table("quarantine", "--limit", str(FILES))
    dropped = await backend.ask(decisions.dropped, backend.store, backend.settings, FILES)
    moves = await backend.ask(audit.history, backend.database, limit=MOVES, subject="quarantine")
    return page(request, backend, "quarantine.html", files=files, most=FILES, dropped=dropped, moves=moves)


@router.get("/alerts", dependencies=[OPERATOR])
async def alerts(request: Request, backend: Here) -> HTMLResponse:
    """What is wrong, since when, and who was told; then what was."""
    shown = await shown_alerts(backend, resolved=True)
    return page(request, backend, "alerts.html", alerts=sorted(shown, key=lambda alert: alert.resolved_at is not None))


@router.get("/models", dependencies=[OPERATOR])
async def models(request: Request, backend: Here) -> HTMLResponse:
    """What the newest release holds, and every move of a model or a route."""
    release, problem = None, ""
    try:
        release = await backend.ask(newest_release.manifest, backend.store, backend.settings.serving_bucket)
    except FileNotFoundError:
        problem = "Nothing is released yet. Build with: genre-assets run"
    moves = await backend.ask(audit.history, backend.database, limit=MOVES, but="quarantine")
    standing = await backend.ask(route_state.standing, backend.database)
    return page(request, backend, "models.html", release=release, problem=problem, moves=moves, standing=standing)


async def _labels(backend: Backend) -> tuple[list[str], str]:
    """The label set for the page, or why it cannot be told."""
    try:
        known = await backend.ask(label_set.read, backend.store, backend.settings)
    except (GenreError, FileNotFoundError) as error:
        return [], str(error)
    return list(known.names), "" if known.names else "There are no labels yet: ingest audio first."


def page(request: Request, backend: Backend, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page from its template, with the way to the other pages that the person's key is for."""
    key = key_of(request)
    shared = {
        "pages": {
            path: said for path, said in PAGES.items() if not key or SCOPES.get(path, Scope.OPERATE) in key.scopes
        },
        "titles": PAGES,
        "signed_in": key.name if key else "",
        "dagster": backend.settings.dagster_link,
        "mlflow": backend.settings.mlflow_page,
    }
    return _templates.TemplateResponse(request, name, {**shared, **values}, status)


def when(at: "datetime | str | None") -> str:
    """A time for people, to the second, in UTC."""
    if at is None:
        return ""
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def percent(share: float | None) -> str:
    """A share for people; what is not known is said so."""
    return "unknown" if share is None else f"{share:.0%}"


_templates.env.filters |= {"when": when, "percent": percent}
