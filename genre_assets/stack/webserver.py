"""Dagster's webserver behind `OwnOriginOnly`. Run as `python -m genre_assets.stack.webserver`, with its own options."""

from typing import Any
from urllib.parse import urlsplit

from genre_assets.settings import Settings, load_settings
from genre_assets.stack.own_origin import OwnOriginOnly


def own_names(settings: Settings) -> tuple[str, ...]:
    """Host names that this server is reached by: the one in its address, and those that the settings add."""
    names = (urlsplit(settings.dagster_url).hostname, settings.host, *settings.dagster_allowed_hosts)
    return tuple(name for name in names if name)


def main() -> None:
    """Start the webserver; every application that it makes is wrapped."""
    import dagster_webserver.cli

    cli: Any = dagster_webserver.cli
    names = own_names(load_settings())
    make_app = cli.create_app_from_workspace_process_context

    def make_guarded_app(*arguments: Any, **options: Any) -> OwnOriginOnly:
        return OwnOriginOnly(make_app(*arguments, **options), names)

    # The command line of `dagster-webserver` takes no middleware, but looks this factory up when it starts.
    cli.create_app_from_workspace_process_context = make_guarded_app
    cli.main()


if __name__ == "__main__":
    main()
