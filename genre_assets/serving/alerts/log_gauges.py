"""Reading the prediction log's gauges from Triton's metrics endpoint."""

from urllib.error import URLError
from urllib.request import urlopen

from genre_assets.serving.alerts import sources


def read(address: str) -> dict[str, float]:
    """Gauges by name; empty if the endpoint does not answer (whether Triton serves is another question)."""
    try:
        with urlopen(f"http://{address}/metrics", timeout=3) as answer:
            text: str = answer.read().decode()
    except (URLError, OSError):
        return {}
    return sources.gauges(text)
