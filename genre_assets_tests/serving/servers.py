"""Finding the process of a server."""

from pathlib import Path

from genre_assets.settings import Settings


def server_of(settings: Settings) -> int:
    """Process id of the server of these settings; 0 while there is none."""
    port = f"--http-port={settings.triton_inner_http_port}"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if port in words:
            return int(folder.name)
    return 0
