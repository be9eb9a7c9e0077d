"""Reading the prediction log's gauges from Triton's metrics endpoint."""

from http.client import HTTPException
from urllib.request import urlopen

from genre_assets.serving.alerts import sources


def read(address: str) -> dict[str, float]:
    """Gauges by name; empty if the endpoint does not answer or its text is cut (whether Triton serves is another question)."""
    try:
        with urlopen(f"http://{address}/metrics", timeout=3) as answer:
            return sources.gauges(answer.read().decode())
    except (OSError, HTTPException, ValueError):
        return {}
