"""Files, folders and S3 addresses, answered by the live ensemble: predict."""

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from genre_assets.cli.base import NOTHING_SERVED, AsJson, counted, interruptible, progress_bar, say, stack_settings
from genre_assets.cli.serving.answers import Answers
from genre_assets.errors import BadInput, GenreError, TransientFailure
from genre_assets.settings import Settings
from genre_assets.text import visible

Paths = Annotated[list[str] | None, typer.Argument(help="Files, folders or s3://bucket/key addresses.")]
Batch = Annotated[
    str | None,
    typer.Option(metavar="PREFIX", help="Answer all audio under s3://bucket/prefix into one Parquet; resumable."),
]


def predict(
    paths: Paths = None,
    batch: Batch = None,
    as_json: AsJson = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Also what each part of the whole file is: from, to, label, how sure.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for a server that does not answer.")] = 5.0,
) -> None:
    """Ask the live ensemble for the genre of files, folders or s3:// keys. Exit code 1 if any item failed.

    At a terminal the answers are a table: file, label, how sure, the second label, the model. Elsewhere, and with --json,
    each is a line of JSON.
    """
    from genre_assets.triton.client.sync import GenreClient, collect_items

    if bool(paths) == (batch is not None):
        raise BadInput("give files, folders or s3://bucket/key addresses, or --batch s3://bucket/prefix, and not both")
    if batch is not None:
        _predict_prefix(batch, wait, as_json=as_json)
        return
    settings = stack_settings("triton_grpc")
    asked = failed = 0
    items = collect_items(paths or [])
    _await_model(settings, wait)
    answers = Answers([*map(str, items)], as_json=as_json)
    with GenreClient(settings.triton_grpc) as client:
        for path, prediction in client.predict_each(items, timeline=timeline):
            line = prediction.timeline
            asked += 1
            failed += bool(prediction.error or (line and line.error))
            answers.add(path, prediction)
    say(f"{counted(asked, 'item', 'items')} asked, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _predict_prefix(prefix: str, wait: float, *, as_json: bool) -> None:
    """Answer all audio under a prefix, and say where the answers lie. Raises `typer.Exit` if any item failed."""
    from genre_assets.serving.batch import predict_prefix
    from genre_assets.store import ObjectStore, s3_client
    from genre_assets.triton.client.sync import GenreClient

    settings = stack_settings("triton_grpc", "s3_endpoint_url")
    _await_model(settings, wait)
    store = ObjectStore(s3_client(settings))
    kept = "the answers so far are kept; the same command goes on from there"
    try:
        with interruptible(kept), GenreClient(settings.triton_grpc) as client, progress_bar("answering") as advance:
            done = predict_prefix(settings, store, client, prefix, on_progress=advance)
    except TransientFailure:
        say(kept)
        raise
    where = f"s3://{settings.serving_bucket}/{done.key}"
    if as_json:
        typer.echo(json.dumps({**asdict(done), "answers": where}))
    else:
        counts = ", ".join(f"{label} {n}" for label, n in done.counts.items())
        typer.echo(
            visible(f"{done.items} answered, {done.asked} of them now, {done.failed} failed: {counts or 'no label'}")
        )
        typer.echo(where)
    if done.failed:
        raise typer.Exit(1)


def _await_model(settings: Settings, wait: float) -> None:
    """Wait until the server answers. Raises `BadInput` if it has no model at all."""
    _await_server(settings.triton_grpc, wait)
    if _nothing_is_released(settings):
        raise BadInput(NOTHING_SERVED)


def _await_server(address: str, seconds: float) -> None:
    """Wait until the server has answered once, whatever it says; say at once if it does not.

    Raises `TransientFailure` after so many seconds.
    """
    from genre_assets.triton.client.sync import answers

    end = time.monotonic() + seconds
    said = False
    while not answers(address, timeout=min(1.0, max(0.1, end - time.monotonic()))):
        if not said:
            say(f"nothing answers at {address} yet; trying for {seconds:g} s")
            said = True
        if time.monotonic() >= end:
            raise TransientFailure(
                f"nothing answers at {address} (GENRE_TRITON_GRPC); tried for {seconds:g} s (option --wait). "
                "Start the services with: genre-assets up; see what is wrong with: genre-assets status"
            )
        time.sleep(0.2)


def _nothing_is_released(settings: Settings) -> bool:
    """Whether the server is up and has no model at all: waiting for one would not help.

    That is asked by HTTP. Who states the gRPC address alone means a server whose HTTP address nobody knows: the default
    one may be another's.
    """
    from genre_assets.stack.configuration import stated_outside
    from genre_assets.triton.control import TritonControl

    stated = stated_outside()
    if "GENRE_TRITON_GRPC" in stated and "GENRE_TRITON_HTTP" not in stated:
        return False
    control = TritonControl.from_settings(settings)
    try:
        return not control.ready() and control.index() == []
    except GenreError:
        return False  # the client knows better what is wrong, and tries again
