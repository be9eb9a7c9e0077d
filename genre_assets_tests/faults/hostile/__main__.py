"""A campaign against a Triton of its own with S3 and PostgreSQL: started, attacked, measured, taken down."""

import argparse
import sys
import tempfile
import uuid
from pathlib import Path

from genre_assets.packaging.environment import conda
from genre_assets.settings import load_settings
from genre_assets.stack.services.postgres import Postgres
from genre_assets.stack.services.s3 import S3
from genre_assets.store import ObjectStore, s3_client
from genre_assets_tests.conftest import free_port, running
from genre_assets_tests.faults.hostile.campaign import Campaign, Result
from genre_assets_tests.faults.hostile.report import markdown, passed, write
from genre_assets_tests.live import ROOT
from genre_assets_tests.serving.live_stack import live_stack


def main() -> None:
    """Exit code 1 if something did not hold."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="genre-hostile-", ignore_cleanup_errors=True) as folder:
        result = _campaign(asked, Path(folder))
    write(result, asked.output)
    print(markdown(result))
    sys.exit(0 if passed(result) else 1)


def _campaign(asked: argparse.Namespace, folder: Path) -> Result:
    port = free_port()
    s3 = load_settings(
        folder / "s3", s3_port=port, s3_endpoint_url=f"http://127.0.0.1:{port}", s3_secret_key=uuid.uuid4().hex
    )
    postgres = Postgres(load_settings(folder / "postgres", postgres_port=free_port()), password=uuid.uuid4().hex)
    asked.environment.mkdir(parents=True, exist_ok=True)
    (folder / "live").mkdir()
    with running(S3(s3)), running(postgres):
        made = conda.ensure(
            s3.model_copy(update={"environment_source": "local", "home": asked.environment}), ObjectStore(s3_client(s3))
        )
        with live_stack(folder / "live", made, s3, postgres) as live:
            return Campaign(live, asked.seed).run(asked.items, asked.quiet_seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genre_assets_tests.faults.hostile", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="hostile items and requests")
    parser.add_argument("--seed", type=int, default=1, help="of all that is hostile")
    parser.add_argument("--quiet-seconds", type=float, default=40.0, help="for the honest client alone")
    parser.add_argument(
        "--environment", type=Path, default=ROOT / ".pytest_cache" / "d" / "execution_environment",
        help="folder of Triton's execution environment; it is built there if there is none",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "reliability_hostile", help="writes this with .json and .md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
