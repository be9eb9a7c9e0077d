"""The page where a person gives a key; a cookie has it until the browser is closed, or the person signs out."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, cast
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import COOKIE, SignInFirst, needs
from genre_assets.gateway.backend import Here, of_request
from genre_assets.gateway.pages import PAGES, page
from genre_assets.gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATH = "/sign-in"
_operator = cast("Callable[[Request], Awaitable[None]]", needs(Scope.OPERATE, always=True).dependency)
router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get(PATH)
async def ask(request: Request, backend: Here) -> HTMLResponse:
    """The form."""
    return page(request, backend, "sign_in.html")


@router.get("/v1/auth")
async def may_operate(request: Request, backend: Here) -> Response:
    """For a proxy before Dagster, MLflow and Grafana: 204 if the request has a key that may operate, 401 or 403 if not.

    A browser without one is led to the form.
    """
    try:
        await _operator(request)
    except Problem as refused:
        if refused.status is HTTPStatus.UNAUTHORIZED and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"{backend.settings.gateway_link}{PATH}", HTTPStatus.SEE_OTHER)
        raise
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(PATH)
async def take(
    request: Request,
    backend: Here,
    key: Annotated[str, Form(max_length=200)],
    to: Annotated[str, Form(max_length=200)] = "/",
) -> Response:
    """Let the browser keep the key, if it is one, and go where the person wanted to."""
    if await backend.ask(backend.doorkeeper.known, key.strip()) is None:
        return page(request, backend, "sign_in.html", status=HTTPStatus.FORBIDDEN, problem="This is no key in force.")
    answer = RedirectResponse(to if to in PAGES else "/", HTTPStatus.SEE_OTHER)
    secure = urlsplit(backend.settings.gateway_link).scheme == "https"
    answer.set_cookie(COOKIE, key.strip(), httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out")
async def forget() -> Response:
    """Let the browser forget it."""
    answer = RedirectResponse(PATH, HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE)
    return answer


def add_handler(app: FastAPI) -> None:
    """Lead who asks for a page without the right key to the form."""

    @app.exception_handler(SignInFirst)
    async def _sign_in(request: Request, error: SignInFirst) -> Response:
        if not str(error):
            return RedirectResponse(f"{PATH}?to={quote(request.url.path)}", HTTPStatus.SEE_OTHER)
        return page(request, of_request(request), "sign_in.html", status=HTTPStatus.FORBIDDEN, problem=str(error))
