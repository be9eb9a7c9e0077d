"""The parity gate: a scratch Triton on the exported repository must answer as the offline path does.

It runs before a release is published: a server of its own on free ports, every version in turn, the golden clips.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genre_assets.errors import GenreError
from genre_assets.packaging.config import from_pbtxt, to_pbtxt
from genre_assets.packaging.golden import TOLERANCE, Comparison, compare
from genre_assets.packaging.model_repository import ModelRepository
from genre_assets.packaging.release import Release
from genre_assets.triton.client.sync import GenreClient
from genre_assets.triton.protocol import ENSEMBLE, PREDICTOR, model_for
from genre_assets.triton.scratch import scratch_triton


@dataclass(frozen=True)
class Parity:
    """What the gate found."""

    comparisons: list[Comparison]
    problem: str = ""  # why the scratch server could not be asked
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every clip was answered by every version as offline."""
        return not self.problem and bool(self.comparisons) and all(c.agrees for c in self.comparisons)

    @property
    def largest_difference(self) -> float:
        """Of any probability."""
        return max((c.difference for c in self.comparisons), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "passed": self.passed, "problem": self.problem, "tolerance": TOLERANCE,
            "comparisons": [asdict(c) for c in self.comparisons],
        }  # fmt: skip


def check_parity(folder: Path, release: Release, environment: Path) -> Parity:
    """Ask every version of the release in `folder`; never raises for a release that is at fault."""
    started = time.monotonic()
    ModelRepository(folder / "models").link_environment(environment)
    predictor = model_for(PREDICTOR, release.contents)
    config = folder / "models" / predictor / "config.pbtxt"
    original = config.read_text()
    comparisons: list[Comparison] = []
    versions = list(map(int, release.versions))
    try:
        _serve(config, versions[0])
        with scratch_triton(folder / "models", ENSEMBLE) as server, GenreClient(server.grpc) as client:
            for version in versions:
                if version != versions[0]:
                    _serve(config, version)
                    server.control.load(predictor)
                comparisons += _ask(client, release, folder / "golden", version)
    except GenreError as error:
        return Parity(comparisons, str(error), time.monotonic() - started)
    finally:
        config.write_text(original)
    return Parity(comparisons, seconds=time.monotonic() - started)


def _serve(config: Path, version: int) -> None:
    config.write_text(to_pbtxt(replace(from_pbtxt(config.read_text()), versions=(version,))))


def _ask(client: GenreClient, release: Release, folder: Path, version: int) -> list[Comparison]:
    offline = {entry["clip"]: entry for entry in release.golden if entry["version"] == version}
    answers = client.predict([(folder / clip).read_bytes() for clip in offline], log=False)
    return [
        compare(clip, given.version, wanted, given.label, list(given.probabilities.values()), given.error)
        for (clip, wanted), given in zip(offline.items(), answers, strict=True)
    ]
