"""`python -m genre_assets.gateway`: serve at the port of the settings."""

import uvicorn

from genre_assets.gateway.app import create_app
from genre_assets.settings import load_settings

GRACE_SECONDS = 10


def main() -> None:
    """Serve until SIGTERM; requests on their way are answered first."""
    settings = load_settings()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.gateway_port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


if __name__ == "__main__":
    main()
