"""How services are that no supervisor of this folder keeps: each is asked at the address that the settings state."""

from collections.abc import Callable, Mapping
from typing import Any

from genre_assets.database import Database
from genre_assets.settings import Settings
from genre_assets.stack.configuration import own_addresses
from genre_assets.stack.containers import contained
from genre_assets.stack.services.s3 import S3
from genre_assets.stack.supervision.lights import Beside, Finding, ask_all
from genre_assets.stack.supervision.service import Health
from genre_assets.triton.control import TritonControl

SECONDS = 8.0  # there and back between machines, each asking others
ROUTE, FALLBACK = "route", "fallback"
# The setting that holds the address of each.
ADDRESSES = {
    "s3": "GENRE_S3_ENDPOINT_URL",
    "postgres": "GENRE_DATABASE_URL",
    "mlflow": "GENRE_MLFLOW_URL",
    "triton": "GENRE_TRITON_INNER_HTTP",
    "triton-door": "GENRE_TRITON_GRPC",
    "dagster-code": "GENRE_DAGSTER_CODE_HOST",
    "dagster": "GENRE_DAGSTER_URL",
    "dagster-daemon": "GENRE_DAGSTER_URL",
}


def is_meant(settings: Settings) -> bool:
    """Whether the settings state that Dagster is elsewhere: the services are not this folder's own then."""
    return "GENRE_DAGSTER_URL" not in own_addresses(settings.home)


def lights(
    settings: Settings, seconds: float = SECONDS, beside: Beside | None = None
) -> tuple[dict[str, dict[str, Any]], str | None, bool | None, list[Finding]]:
    """Each service as it answers, the route that serves, whether there is a fallback (None is unknown), and what does not fit.

    A service whose address nobody stated is unknown. How often one was restarted is known where it is kept, and None here.
    """
    own = own_addresses(settings.home)
    control = TritonControl(settings.triton_http, timeout=seconds)
    questions: dict[str, Callable[[], Health]] = {
        "s3": S3(settings).health,
        "postgres": lambda: _database(settings),
        **{kept.name: contained.service(kept.name, settings).health for kept in contained.KEPT},
    }
    stated = {v for v in ADDRESSES.values() if v not in own and getattr(settings, v.removeprefix("GENRE_").lower())}
    questions = {name: questions[name] for name, variable in ADDRESSES.items() if variable in stated}
    told: dict[str, Any] = {}
    questions[ROUTE] = lambda: _tell(told, ROUTE, control.route)
    questions[FALLBACK] = lambda: _tell(told, FALLBACK, control.has_fallback)
    answers = ask_all({**questions, **(beside.questions() if beside else {})}, seconds)
    services = {name: _entry(answers, name) for name in ADDRESSES}
    return services, told.get(ROUTE), told.get(FALLBACK), beside.findings(answers) if beside else []


def _tell(told: dict[str, Any], name: str, question: Callable[[], object]) -> Health:
    told[name] = question()
    return Health(healthy=True)


def _database(settings: Settings) -> Health:
    Database(settings.database_url.get_secret_value()).rows("SELECT 1")
    return Health(healthy=True)


def _entry(answers: Mapping[str, Health], name: str) -> dict[str, Any]:
    health = answers.get(name) or Health(False, f"{ADDRESSES[name]} is not stated", known=False)
    light = "healthy" if health.healthy else "unhealthy" if health.known else "unknown"
    return {
        "healthy": health.healthy,
        "light": light,
        **({"why": health.why} if health.why else {}),
        "restarts": None,
    }
