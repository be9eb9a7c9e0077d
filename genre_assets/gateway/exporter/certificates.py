"""How long the certificates of the public addresses are good for, as a browser would see them."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from prometheus_client.core import GaugeMetricFamily, Metric

from genre_assets.settings import Settings

SECONDS = 3.0


def addresses(settings: Settings) -> list[str]:
    """The public addresses that begin with https."""
    stated = (
        settings.gateway_public_url,
        settings.dagster_public_url,
        settings.mlflow_public_url,
        settings.s3_public_url,
    )
    return sorted({url.rstrip("/") for url in stated if url.startswith("https://")})


def families(asked: Sequence[str]) -> Iterator[Metric]:
    """Whether each is valid now, and until when; neither of an address that does not answer.

    Valid means: for this name, and signed by somebody whom this machine trusts (`SSL_CERT_FILE` adds an own authority).
    """
    valid = GaugeMetricFamily("genre_certificate_valid", "1 if a browser takes the certificate", labels=["address"])
    until = GaugeMetricFamily(
        "genre_certificate_not_after_timestamp_seconds",
        "When the certificate ends, in seconds since 1970",
        labels=["address"],
    )
    for address in asked:
        try:
            end = _not_after(address)
        except ssl.SSLCertVerificationError:
            valid.add_metric([address], 0.0)
            continue
        except OSError:
            continue
        valid.add_metric([address], 1.0)
        until.add_metric([address], end)
    yield valid
    yield until


def _not_after(address: str) -> float:
    """Seconds since 1970. Raises `OSError`."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    with (
        socket.create_connection((host, parts.port or 443), timeout=SECONDS) as plain,
        ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
