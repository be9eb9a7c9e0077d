"""Commands act on the stack of their own state folder, or on addresses that somebody stated: never on a stranger's stack.

The ports of a folder without a stack are the default ones, and whoever listens there may be anybody.
"""

import socket
from urllib.parse import urlsplit

from pydantic import SecretStr

from genre_assets.errors import NoStack
from genre_assets.settings import Settings
from genre_assets.stack.configuration import own_addresses
from genre_assets.stack.supervision.run_files import supervisor_pid, written_state

# The setting that holds an address -> the local service that it leads to if nobody states another.
_SERVICES = {
    "s3_endpoint_url": "s3",
    "database_url": "postgres",
    "mlflow_database_url": "postgres",
    "dagster_url": "dagster",
    "triton_grpc": "triton-door",
}


def require_own(settings: Settings, *addresses: str) -> None:
    """See to it that each of these settings leads to this folder's stack, or was stated to lead elsewhere.

    Raises `NoStack` that says what to do.
    """
    own = own_addresses(settings.home)
    here = {f"GENRE_{name.upper()}": name for name in addresses if f"GENRE_{name.upper()}" in own}
    if not here:
        return
    if supervisor_pid(settings.home) is None:
        raise NoStack(
            f"no stack runs in {settings.home}: start it with genre-assets up (genre-assets status shows it), set "
            f"GENRE_HOME to the folder of the stack that you mean, or {' and '.join(here)} to services elsewhere"
        )
    standings = written_state(settings.home).get("services", {})
    for name in here.values():
        standing = standings.get(_SERVICES[name], {})
        # A service of ours has seen that its port is free before it got its process.
        if standing.get("pid") is None and _answers(getattr(settings, name)):
            raise NoStack(
                f"what listens on the port of {_SERVICES[name]} is not of the stack in {settings.home}, whose own is "
                f"{standing.get('state', 'not started')}: see genre-assets status"
            )


def _answers(value: str | SecretStr) -> bool:
    address = value.get_secret_value() if isinstance(value, SecretStr) else value
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1).close()
    except OSError:
        return False
    return True
