"""All facts as one collector: each source by itself, so that one that is away takes only its own families away."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from genre_assets.database import Database
from genre_assets.errors import GenreError
from genre_assets.gateway import newest_release
from genre_assets.gateway.exporter import certificates, database_facts, supervisor_facts
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets.triton.control import TritonControl

KEPT_SECONDS = 5.0  # however many ask, the sources are asked once in so long
CERTIFICATE_SECONDS = 600.0
TRITON_SECONDS = 2.0


class PlatformFacts(Collector):
    """What the platform knows, asked at each scrape. `SOURCES` are `database`, `object_store` and `triton`."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore) -> None:
        self.settings = settings
        self.database = database
        self.store = store
        self.control = TritonControl(settings.triton_http, timeout=TRITON_SECONDS)
        self._lock = threading.Lock()  # a source that hangs is asked by one thread, not by one for each scrape
        self._kept: tuple[float, list[Metric]] = (float("-inf"), [])
        self._certificates: tuple[float, list[Metric]] = (float("-inf"), [])

    def text(self) -> bytes:
        """The metrics of this process, and the platform's, as Prometheus reads them."""
        return generate_latest(REGISTRY) + generate_latest(self)

    def collect(self) -> Iterable[Metric]:
        """Every family that is known."""
        with self._lock:
            asked, found = self._kept
            if time.monotonic() - asked > KEPT_SECONDS:
                found = [*self._ask()]
                self._kept = (time.monotonic(), found)
        return found

    def _ask(self) -> Iterator[Metric]:
        sources: dict[str, Callable[[], Iterable[Metric]]] = {
            "database": lambda: database_facts.families(self.database),
            "object_store": self._release,
            "triton": self._ensemble,
        }
        up = GaugeMetricFamily("genre_source_up", "1 if what the facts come from answers", labels=["source"])
        for name, families in sources.items():
            try:
                yield from [*families()]
                up.add_metric([name], 1.0)
            except GenreError:
                up.add_metric([name], 0.0)
        yield up
        yield from supervisor_facts.families(self.settings)
        yield from self._of_certificates()

    def _ensemble(self) -> Iterator[Metric]:
        self.control.server()  # raises if it is away; one that serves nothing answers
        ready = float(self.control.ready())
        yield GaugeMetricFamily("genre_ensemble_ready", "1 if the ensemble takes requests", value=ready)
        route = self.control.route()
        applied = GaugeMetricFamily("genre_triton_route", "1 for the route that Triton has loaded", labels=["route"])
        if route is not None:
            for name in database_facts.ROUTES:
                applied.add_metric([name], float(name == route))
        yield applied

    def _release(self) -> Iterator[Metric]:
        """The models of the newest release, by role."""
        info = GaugeMetricFamily(
            "genre_model_info", "1 for each model of the newest release", labels=["route", "family", "version"]
        )
        try:
            found = newest_release.manifest(self.store, self.settings.serving_bucket)
        except FileNotFoundError:
            return
        for route, version in found["roles"].items():
            info.add_metric([route, found["versions"][str(version)]["family"], str(version)], 1.0)
        yield info

    def _of_certificates(self) -> list[Metric]:
        asked, found = self._certificates
        if time.monotonic() - asked > CERTIFICATE_SECONDS:
            found = [*certificates.families(certificates.addresses(self.settings))]
            self._certificates = (time.monotonic(), found)
        return found
