"""How Dagster says which settings its runs are made under: others may ask, who have their own and need not have the same."""

import hashlib

from genre_assets.settings import Settings

IN_METADATA = "settings"
"""The name in the metadata of the job `build`."""


def digest(settings: Settings) -> str:
    """Names the values of all settings but secrets, which change no result: 12 hexadecimal digits."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
