"""The project's docker-compose.yaml, as it is, on an engine of the test's own: how it is brought up, asked, and hurt."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genre_assets.demo.synthetic import write_sample_set
from genre_assets_tests.compose import stand_ins
from genre_assets_tests.compose.engine import Engine, fetch, running

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
STUDIES = {
    "GENRE_ENVIRONMENT_SOURCE": "local",  # the stand-in has the C library of the image that builds it
    "GENRE_WINDOW_SIZE": "32", "GENRE_WINDOW_MINIMUM": "24", "GENRE_MIN_DWELL_SECONDS": "5",
    "GENRE_SENSOR_INTERVAL_SECONDS": "3", "GENRE_TRIALS_XGBOOST": "2", "GENRE_TRIALS_RANDOM_FOREST": "2",
    "GENRE_TRIALS_K_NEIGHBORS": "4", "GENRE_TRIALS_LINEAR": "4", "GENRE_TUNING_SECONDS": "30", "GENRE_ROBUSTNESS_CLIPS": "5",
}  # fmt: skip
LONG = 3600.0


@dataclass
class Project:
    """A clean checkout with its `.env`, up on the engine. `noted` is what was measured."""

    engine: Engine
    folder: Path
    audio: Path
    noted: dict[str, Any] = field(default_factory=dict)

    def compose(self, *arguments: str, timeout: float = LONG, check: bool = True) -> str:
        """`docker compose` in the checkout."""
        return self.engine.docker("compose", *arguments, cwd=self.folder, timeout=timeout, check=check)

    def inside(self, service: str, *command: str, timeout: float = LONG, check: bool = True) -> str:
        """Run a command in a service's container."""
        return self.compose("exec", "-T", service, *command, timeout=timeout, check=check)

    def outside(self, *arguments: str, secret: str | None = None) -> str:
        """`genre-assets` on the host, at the published addresses."""
        given = {
            "GENRE_S3_ENDPOINT_URL": "http://127.0.0.1:8333", "GENRE_S3_SECRET_KEY": secret or self.secrets()["GENRE_S3_SECRET_KEY"],
            "GENRE_DAGSTER_URL": "http://127.0.0.1:3300", "GENRE_TRITON_GRPC": "127.0.0.1:8001",
            "GENRE_TRITON_HTTP": "127.0.0.1:8000", "GENRE_HOME": str(self.folder / ".genre"),
        }  # fmt: skip
        words = [f"{name}={value}" for name, value in given.items()]
        return self.engine.run(
            "env", "-u", "LD_LIBRARY_PATH", *words, str(BIN / "genre-assets"), *arguments, timeout=LONG
        )

    def secrets(self) -> dict[str, str]:
        """What `.env` says."""
        lines = [line for line in (self.folder / ".env").read_text().splitlines() if line and not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)

    def predict(self) -> list[dict[str, Any]]:
        """Ask about three clips from outside, as a client does; asked again for some seconds, as clients do."""
        clips = [str(path) for path in sorted(self.audio.glob("*/*.wav"))[::17][:3]]
        answers = [json.loads(line) for line in self.outside("predict", "--json", "--wait", "60", *clips).splitlines()]
        assert len(answers) == 3
        assert all(answer["genre"] and not answer["error"] for answer in answers)
        return answers

    def states(self) -> dict[str, tuple[str, str]]:
        """Every container's state and health, by the name of its service."""
        listed = self.compose("ps", "-a", "--format", "json").splitlines()
        return {one["Service"]: (one["State"], one["Health"]) for one in map(json.loads, listed)}

    def unwell(self) -> dict[str, tuple[str, str]]:
        """What neither runs and is healthy, nor has done its one task."""
        done = {"volumes", "init"}
        return {
            name: state
            for name, state in self.states().items()
            if state != ("running", "healthy") and not (name in done and state[0] == "exited")
        }

    def rows(self, sql: str) -> str:
        """What the platform's database answers, as `psql` prints it."""
        words = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "genre", "-tAc", sql)
        password = f"PGPASSWORD={self.secrets()['GENRE_POSTGRES_PASSWORD']}"
        return self.inside("postgres", "env", password, *words).strip()

    def timed(self, what: str, *arguments: str) -> None:
        """Run `docker compose` and note how long it took."""
        began = time.monotonic()
        self.compose(*arguments)
        self.note(f"{what}, seconds", round(time.monotonic() - began))

    def note(self, what: str, value: object) -> None:
        """Keep a measurement, and print it."""
        self.noted[what] = value
        print(f"{what}: {value}", flush=True)
        (self.engine.root / "noted.json").write_text(json.dumps(self.noted, indent=1))


def checkout(folder: Path) -> None:
    """What git has, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    with subprocess.Popen(
        ["tar", "-c", "--null", "-T", "-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as archive:
        assert archive.stdin is not None
        archive.stdin.write(listed)
        archive.stdin.close()
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=True)
    assert archive.returncode == 0


@contextmanager
def project(root: Path, *, more: Sequence[str] = ()) -> Iterator[Project]:
    """The project on an engine below `root`, not up yet; its containers and volumes are removed at the end."""
    root.mkdir(parents=True, exist_ok=True)
    fetch(root)
    with running(root) as engine:
        stand_ins.make(engine, BIN / "uv")
        folder, audio = root / "checkout", root / "audio"
        checkout(folder)
        subprocess.run([str(BIN / "genre-assets"), "env", str(folder / ".env")], check=True, cwd=folder)
        with (folder / ".env").open("a") as file:
            file.write(
                "".join(f"{name}={value}\n" for name, value in [*STUDIES.items(), ("GENRE_CLIENT_FOLDER", audio)])
            )
            file.write("".join(f"{line}\n" for line in more))
        write_sample_set(audio, seed=7, each=6)
        found = Project(engine, folder, audio)
        try:
            yield found
        finally:
            found.compose("down", "-v", "--remove-orphans", check=False)
