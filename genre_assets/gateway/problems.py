"""Errors as RFC 9457 says: `application/problem+json` with a title, the status, and what to do."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from genre_assets.errors import BadInput, GenreError, TransientFailure

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error. `more` are members beside those of the RFC, `code` among them; `headers` go with it."""

    def __init__(self, status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> JSONResponse:
    """The response."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def status_of(error: GenreError) -> HTTPStatus:
    """Whose fault it is: the caller's, a service's that is away, or the platform's."""
    if isinstance(error, BadInput):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.SERVICE_UNAVAILABLE if isinstance(error, TransientFailure) else HTTPStatus.BAD_GATEWAY


def add_handlers(app: FastAPI) -> None:
    """Let every error of the application be answered so."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return problem(error.status, error.detail, headers=error.headers, **error.more)

    @app.exception_handler(GenreError)
    async def _ours(_: Request, error: GenreError) -> JSONResponse:
        return problem(status_of(error), str(error))

    @app.exception_handler(FileNotFoundError)
    async def _missing(_: Request, error: FileNotFoundError) -> JSONResponse:
        return problem(HTTPStatus.NOT_FOUND, str(error))

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(f"{e['where']}: {e['what']}" for e in said), errors=said
        )

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))
