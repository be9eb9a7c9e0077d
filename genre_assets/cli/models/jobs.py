"""The named jobs of Dagster: run."""

from typing import Annotated

import typer

from genre_assets.cli.base import interruptible, launching, say, stack_settings


def run(
    job: Annotated[str, typer.Argument(help="build, ingest, retrain or drift: the same jobs as in the UI.")] = "build",
    force: Annotated[
        bool, typer.Option("--force", help="Build even if nothing has changed since the last build.")
    ] = False,
) -> None:
    """Launch a named Dagster job, as the UI does, and wait for it with progress. Exit code 1 if it fails."""
    settings = stack_settings("dagster_url", "s3_endpoint_url")
    with interruptible(launching(settings)):
        if job == "build":
            from genre_assets.stack.whole_build import build

            if not build(settings, force=force, report=say):
                return
        else:
            from genre_assets.stack.orchestrate import launch_and_follow

            launch_and_follow(settings, job, report=say)
    say(f"{job}: done")
