"""The application: who may ask (`access`), what can be asked (`api_*`, `pages`), and how errors are said (`problems`)."""

import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import Histogram
from starlette.datastructures import MutableHeaders

from genre_assets.errors import BadInput
from genre_assets.gateway import api_labels, api_predict, api_quarantine, api_records, api_route, pages, sign_in
from genre_assets.gateway.access.own_origin import LOOPBACK, App, OwnOriginOnly, Receive, Scope, Send
from genre_assets.gateway.backend import Backend
from genre_assets.gateway.problems import add_handlers
from genre_assets.settings import Settings

STATIC = Path(__file__).with_name("static")
SECONDS = Histogram(
    "genre_gateway_request_seconds",
    "Time to answer a request of the gateway, by route and status.",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
# Nothing from outside, nothing inline, in nobody's frame.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a form of our own would come with the origin `null`
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def create_app(settings: Settings) -> OwnOriginOnly:
    """The gateway for these settings.

    Raises
    ------
    BadInput
        When it would listen where others reach it, asking for no key and knowing no proxy before it.
    """
    if settings.gateway_keys == "never" and settings.host not in LOOPBACK and not settings.gateway_allowed_hosts:
        raise BadInput(
            f"GENRE_HOST={settings.host} with GENRE_GATEWAY_KEYS=never: then others could do everything. Put a proxy with "
            "a login before the gateway and name the host that people use in GENRE_GATEWAY_ALLOWED_HOSTS, or let it ask for keys"
        )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.backend = Backend(settings)
        yield
        await app.state.backend.close()

    app = FastAPI(
        title="genre_assets",
        summary="Audio classification: answers, what the platform thinks of them, and what people say.",
        version=version("genre-assets"),
        lifespan=lifespan,
        docs_url=None,  # both load their scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    add_handlers(app)
    app.add_middleware(_Measured)
    sign_in.add_handler(app)
    for room in (api_predict, api_records, api_labels, api_quarantine, api_route, pages, sign_in):
        app.include_router(room.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return OwnOriginOnly(app, own_names(settings), "GENRE_GATEWAY_ALLOWED_HOSTS")


def own_names(settings: Settings) -> tuple[str, ...]:
    """Host names that the gateway is reached by."""
    addresses = (settings.gateway_url, settings.gateway_link)
    names = (*(urlsplit(address).hostname for address in addresses), settings.host, *settings.gateway_allowed_hosts)
    return tuple(name for name in names if name)


class _Measured:
    """Counts and times each request, to the first byte of its answer, and sends the headers that every page needs.

    Plain ASGI: Starlette's middleware for functions passes each part of a body and of an answer through queues of its own.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def answered(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                SECONDS.labels(route, str(message["status"])).observe(time.perf_counter() - began)
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, answered)
