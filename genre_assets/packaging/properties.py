"""What must hold of an environment and of a release, as pure functions that the asset checks report."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genre_assets.errors import GenreError
from genre_assets.packaging.environment import Environment, warm
from genre_assets.stack import triton_binary


@dataclass(frozen=True)
class Finding:
    """Whether a property holds, in one sentence, with the facts behind it."""

    holds: bool
    summary: str
    facts: Mapping[str, Any]


def stub_starts(environment: Environment) -> Finding:
    """The stub of the environment's Python starts with the environment's libraries.

    Without an argument it ends with 1 after its usage message; 127 is the loader that misses a library. It must be
    tried apart, since Triton waits for ever for a stub that cannot start.
    """
    facts = {"python": environment.python, "triton": triton_binary.TRITON_VERSION}
    try:
        stub = triton_binary.stub(environment.minor)
    except GenreError as error:
        return Finding(False, str(error), facts)
    variables = {
        "PATH": f"{environment.folder / 'bin'}:{os.defpath}",
        "LD_LIBRARY_PATH": str(environment.folder / "lib"),
    }
    done = subprocess.run([stub], env=variables, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 1:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        return Finding(False, f"the stub for Python {environment.minor} does not start: {said}", facts)
    return Finding(True, f"the stub for Python {environment.minor} starts in the environment", facts)


def numpy_fits(environment: Environment) -> Finding:
    """The version of numpy is older than 2."""
    numpy = environment.versions.get("numpy", "")
    holds = numpy.startswith("1.")
    wanted = "" if holds else "; the server needs numpy<2: pin it in deploy/conda/environment.yaml"
    return Finding(holds, f"the environment has numpy {numpy or 'not at all'}{wanted}", {"numpy": numpy})


def imports_work(environment: Environment) -> Finding:
    """Import in the environment whatever the models import."""
    try:
        facts = warm(environment.folder)
    except GenreError as error:
        return Finding(False, str(error), {"lock": environment.lock.hash})
    return Finding(True, f"{len(facts['versions'])} libraries import", facts["versions"])


def parity_holds(report: Mapping[str, Any]) -> Finding:
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
        return Finding(False, f"the release is not taken: {report['problem']}", facts)
    if wrong or not comparisons:
        shown = "; ".join(
            f"{c['clip']} by version {c['version']}: {c['offline']} offline, {c['served']} served, {c['difference']:.1e} apart"
            for c in wrong
        )
        return Finding(False, f"the release is not taken: {shown or 'no clip was compared'}", facts)
    return Finding(True, "Triton answers as the offline path does", facts)
