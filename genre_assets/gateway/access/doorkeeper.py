"""Whether a key is needed, which key one is, and how often it may ask."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from genre_assets.database import Database
from genre_assets.gateway.access import api_keys
from genre_assets.gateway.access.api_keys import ApiKey
from genre_assets.gateway.access.own_origin import LOOPBACK
from genre_assets.settings import Settings

REMEMBERED_SECONDS = 10.0  # a revoked key is refused after so long at the latest
MOST_REMEMBERED = 10_000
MINUTE = 60.0


def keys_needed(settings: Settings) -> bool:
    """Whether a request needs a key: by the setting, or because others than this machine's own people reach the gateway."""
    return settings.gateway_keys == "always" or (settings.gateway_keys == "auto" and settings.host not in LOOPBACK)


@dataclass
class Doorkeeper:
    """Knows the keys for some seconds, and counts their requests. Each process counts for itself."""

    database: Database
    now: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, ApiKey]] = field(default_factory=dict)
    _allowance: dict[str, tuple[float, float]] = field(default_factory=dict)  # by a key's name: requests left, and when

    def known(self, key: str) -> ApiKey | None:
        """The key that this is, as it was some seconds ago at most. Raises `TransientFailure` when nobody can tell."""
        at, found = self._known.get(key, (0.0, None))
        if found is not None and self.now() - at < REMEMBERED_SECONDS:
            return found
        self._known.pop(key, None)
        found = api_keys.find(self.database, key)
        if found is not None:  # what is no key is not remembered: strangers could fill the memory
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = self.now(), found
        return found

    def count(self, key: ApiKey) -> float:
        """Count a request of the key. Returns 0, or the seconds after which it may ask again."""
        if key.per_minute is None:
            return 0.0
        left, at = self._allowance.get(key.name, (float(key.per_minute), self.now()))
        left = min(float(key.per_minute), left + (self.now() - at) * key.per_minute / MINUTE)
        may = left >= 1
        self._allowance[key.name] = (left - 1 if may else left), self.now()
        return 0.0 if may else (1 - left) * MINUTE / key.per_minute
