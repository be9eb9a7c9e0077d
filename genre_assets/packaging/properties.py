"""What must hold of an environment and of a release, as pure functions that the asset checks report."""

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from genre_assets.checks import CheckFinding
from genre_assets.errors import GenreError
from genre_assets.packaging.environment.build import warm
from genre_assets.packaging.environment.lock import Environment
from genre_assets.triton import binary


def stub_starts(environment: Environment) -> CheckFinding:
    """The stub of the environment's Python starts with the environment's libraries.

    Without an argument it ends with 1 after its usage message; 127 is the loader that misses a library. It must be
    tried apart, since Triton waits for ever for a stub that cannot start.
    """
    facts = {"python": environment.python, "triton": binary.TRITON_VERSION}
    try:
        stub = binary.stub(environment.minor)
    except GenreError as error:
        return CheckFinding(False, str(error), facts)
    variables = {
        "PATH": f"{environment.folder / 'bin'}:{os.defpath}",
        "LD_LIBRARY_PATH": str(environment.folder / "lib"),
    }
    done = subprocess.run([stub], env=variables, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 1:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        return CheckFinding(False, f"the stub for Python {environment.minor} does not start: {said}", facts)
    return CheckFinding(True, f"the stub for Python {environment.minor} starts in the environment", facts)


def numpy_fits(environment: Environment) -> CheckFinding:
    """The version of numpy is older than 2."""
    numpy = environment.versions.get("numpy", "")
    holds = numpy.startswith("1.")
    wanted = "" if holds else "; the server needs numpy<2: pin it in deploy/conda/environment.yaml"
    return CheckFinding(holds, f"the environment has numpy {numpy or 'not at all'}{wanted}", {"numpy": numpy})


def imports_work(environment: Environment) -> CheckFinding:
    """Import in the environment whatever the models import."""
    try:
        facts = warm(environment.folder)
    except GenreError as error:
        return CheckFinding(False, str(error), {"lock": environment.lock.hash})
    return CheckFinding(True, f"{len(facts['versions'])} libraries import", facts["versions"])


def parity_holds(report: Mapping[str, Any]) -> CheckFinding:
    """Every golden clip was answered by every version as offline; `report` is what the gate recorded."""
    comparisons = list(report["comparisons"])
    wrong = [c for c in comparisons if c["offline"] != c["served"] or c["difference"] > report["tolerance"]]
    facts = {
        "release": report["release"],
        "clips and versions compared": len(comparisons),
        "largest difference": report["largest_difference"],
        "tolerance": report["tolerance"],
    }
    if report["problem"]:
        return CheckFinding(False, f"the release is not taken: {report['problem']}", facts)
    if wrong or not comparisons:
        shown = "; ".join(
            f"{c['clip']} by version {c['version']}: {c['offline']} offline, {c['served']} served, {c['difference']:.1e} apart"
            for c in wrong
        )
        return CheckFinding(False, f"the release is not taken: {shown or 'no clip was compared'}", facts)
    return CheckFinding(True, "Triton answers as the offline path does", facts)
