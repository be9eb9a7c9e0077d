"""Who may ask: a key where the gateway is reached by others, with a scope for what is asked, within its limits.

On the loopback nobody needs one, unless `GENRE_GATEWAY_KEYS` says `always`; what a proxy asks on behalf of others needs one
always. A program sends `Authorization: Bearer KEY`; a browser has it in a cookie that scripts cannot read and other sites'
pages cannot send, set by the page `/sign-in`.
"""

from http import HTTPStatus

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency

from genre_assets.gateway.access.api_keys import ApiKey, Scope
from genre_assets.gateway.access.doorkeeper import keys_needed
from genre_assets.gateway.backend import of_request
from genre_assets.gateway.problems import Problem

COOKIE = "genre_key"


class SignInFirst(Exception):
    """A person's page was asked for without a key, or with one that is not for it, which the text then says."""


def needs(*scopes: Scope, page: bool = False, always: bool = False) -> Dependency:
    """A dependency of routes: a key with one of the scopes, where keys are needed. `key_of` tells which it was.

    `always` is for what others are let in by: a key is needed wherever this listens, and its requests are not counted.
    """

    async def admit(request: Request) -> None:
        backend = of_request(request)
        if not (always or keys_needed(backend.settings)):
            return
        given = _given(request)
        found = await backend.ask(backend.doorkeeper.known, given) if given else None
        if found is None:
            if page:
                raise SignInFirst
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "this is no key in force" if given else "a key is needed: send it as Authorization: Bearer KEY",
                headers={"WWW-Authenticate": 'Bearer realm="genre_assets"'},
            )
        request.state.key = found
        if found.scopes.isdisjoint(scopes):
            said = f"the key {found.name!r} is not for this: it needs the scope {' or '.join(scopes)}"
            if page:
                raise SignInFirst(said)
            raise Problem(HTTPStatus.FORBIDDEN, said)
        wait = 0.0 if always else backend.doorkeeper.count(found)
        if wait:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the key {found.name!r} may ask {found.per_minute} times a minute; again in {wait:.0f} s",
                headers={"Retry-After": str(max(1, round(wait)))},
            )

    dependency: Dependency = Depends(admit)
    return dependency


def key_of(request: Request) -> ApiKey | None:
    """The key that the request came with; None where none is needed."""
    found: ApiKey | None = getattr(request.state, "key", None)
    return found


def _given(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
