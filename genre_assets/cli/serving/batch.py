"""All audio under a prefix, answered by a job: batch."""

from typing import Annotated

import typer

from genre_assets.cli.base import interruptible, launching, say, stack_settings


def batch(
    prefix: Annotated[
        str, typer.Argument(help="s3://bucket/prefix, or of keys in the raw bucket; empty: all of that.")
    ] = "",
    log: Annotated[
        bool, typer.Option("--log", help="Count the answers as clients' traffic, which drift is looked for in.")
    ] = False,
) -> None:
    """Launch the job batch: everything under a prefix is answered into one Parquet; only what is new or changed is asked."""
    from genre_assets.stack.orchestrate import launch_and_follow

    config = {"ops": {"batch_predictions": {"config": {"prefix": prefix, "log": log}}}}
    settings = stack_settings("dagster_url")
    with interruptible(launching(settings)):
        launch_and_follow(settings, "batch", run_config=config, report=say)
    say(f"batch: done; the Parquet is named in {settings.dagster_link}/assets/batch_predictions")
