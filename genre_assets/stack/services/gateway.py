"""The gateway as a local service: the page for people and the REST interface."""

import sys

from genre_assets.stack.supervision.service import Health, Service, http_health

GRACE_SECONDS = 10.0  # as the server itself gives requests that are on their way


class Gateway(Service):
    """Holds nothing: killed, it is started again, and browsers ask again."""

    name = "gateway"
    stop_timeout = GRACE_SECONDS + 3.0

    @property
    def ports(self) -> dict[str, int]:
        """The port of the pages and the API."""
        return {"gateway_port": self.settings.gateway_port}

    def addresses(self) -> dict[str, str]:
        """The first page."""
        return {"url": f"http://{self.settings.host}:{self.settings.gateway_port}"}

    def command(self) -> list[str]:
        """The server; it reads its settings from the state folder."""
        return [sys.executable, "-m", "genre_assets.gateway"]

    def environment(self) -> dict[str, str]:
        """Where the settings are; one thread for each native library."""
        return {"GENRE_HOME": str(self.settings.home), "OMP_NUM_THREADS": "1"}

    def health(self) -> Health:
        """Healthy when it answers itself: what stands behind it has lights of its own."""
        return http_health(f"{self.addresses()['url']}/v1/live")
