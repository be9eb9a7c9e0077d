"""Dagster's webserver behind `OwnOriginOnly`. Run as `python -m genre_assets.stack.webserver`, with its own options."""

from typing import Any
from urllib.parse import urlsplit

from genre_assets.gateway.own_origin import OwnOriginOnly
from genre_assets.runs.pools import POOLS
from genre_assets.settings import Settings, load_settings


def own_names(settings: Settings) -> tuple[str, ...]:
    """Host names that this server is reached by: the one in its address, and those that the settings add."""
    addresses = (settings.dagster_url, settings.dagster_link)
    names = (*(urlsplit(address).hostname for address in addresses), settings.host, *settings.dagster_allowed_hosts)
    return tuple(name for name in names if name)


def ask_before_use(connection: Any, _record: object, _proxy: object) -> None:
    """A pooled connection is asked before each use, and another is made if the database was restarted meanwhile.

    Dagster keeps connections without asking, and answers the first requests after a restart with 500. SQLAlchemy's
    recipe for pools that are made by others: an event of all pools.
    """
    from sqlalchemy.exc import DisconnectionError

    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()
    except Exception as error:
        raise DisconnectionError(str(error)) from error


def limit_pools(instance: Any) -> None:
    """Make the pools known before anything can be launched, each with one place.

    Dagster's queue makes a pool known when it first meets a run of it, and does not hold back the runs of that moment.
    """
    for pool in POOLS:
        instance.event_log_storage.set_concurrency_slots(pool, 1)


def main() -> None:
    """Start the webserver; every application that it makes is wrapped."""
    import dagster_webserver.cli
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    event.listen(Pool, "checkout", ask_before_use)
    cli: Any = dagster_webserver.cli
    names = own_names(load_settings())
    make_app = cli.create_app_from_workspace_process_context

    def make_guarded_app(process_context: Any, *arguments: Any, **options: Any) -> OwnOriginOnly:
        limit_pools(process_context.instance)
        return OwnOriginOnly(make_app(process_context, *arguments, **options), names, "GENRE_DAGSTER_ALLOWED_HOSTS")

    # The command line of `dagster-webserver` takes no middleware, but looks this factory up when it starts.
    cli.create_app_from_workspace_process_context = make_guarded_app
    cli.main()


if __name__ == "__main__":
    main()
