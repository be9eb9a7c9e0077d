"""`genre-assets`: the platform from a terminal. Each command is a thin layer over functions that a notebook can call."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from genre_assets.errors import BadInput, GenreError
from genre_assets.settings import Settings, load_settings

app = typer.Typer(
    help="Audio classification in production: labelled audio in S3 to a Triton ensemble that watches itself.\n\n"
    "A first walk: [bold]genre-assets up[/], [bold]genre-assets ingest my_music/[/] (sub-folders are genres), "
    "[bold]genre-assets run[/], [bold]genre-assets predict song.mp3[/]. "
    "[bold]make demo[/] does all of it on sample music.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, highlight=False)
Paths = Annotated[list[str], typer.Argument(help="Files, folders or s3://bucket/key addresses.")]
NOTHING_SERVED = "nothing is served yet; build with: genre-assets run"
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def main() -> None:
    """Entry point: an error that is meant for a person is printed as its message alone, and the exit code is 1."""
    try:
        app()
    except GenreError as error:
        console.print(f"[red]error:[/] {error}", soft_wrap=True, markup=True)
        sys.exit(1)


@app.command()
def up() -> None:
    """Start the local services (S3, PostgreSQL, MLflow, Triton, Dagster) and wait until each is healthy.

    State lives in $GENRE_HOME (default .genre). Every GENRE_* variable set now is kept there for later commands.
    GENRE_PORT_OFFSET=100 GENRE_HOME=.genre2 genre-assets up starts a second stack beside the first.
    """
    from genre_assets.stack import local

    settings = local.up(report=console.print)
    _print_status(local.status(settings), settings)


@app.command()
def down() -> None:
    """Stop the local services and leave no process, port or shared-memory file. Data stays in $GENRE_HOME."""
    from genre_assets.stack import local

    local.down(load_settings(), report=console.print)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show each service: its address, whether it is healthy, and why not. Exit code 1 if one is not healthy."""
    from genre_assets.stack import local

    settings = load_settings()
    services = local.status(settings)
    if as_json:
        typer.echo(json.dumps({"services": services, "route": _route(settings)}, indent=1))
    else:
        _print_status(services, settings)
    if not all(service["healthy"] for service in services.values()):
        raise typer.Exit(1)


@app.command()
def ingest(folder: Annotated[Path, typer.Argument(help="Folder whose sub-folders are genres.")]) -> None:
    """Upload audio into the raw bucket: DIR/<genre>/<anything>.wav|mp3|mp4|m4a|flac|ogg.

    What is there already is not sent again. The sensor of the running stack then extracts the features.
    """
    from genre_assets.audio.ingest import upload_folder
    from genre_assets.store import ObjectStore, s3_client

    settings = load_settings()
    with _progress_bar("uploading") as advance:
        report = upload_folder(folder, store=ObjectStore(s3_client(settings)), settings=settings, progress=advance)
    typer.echo(f"{report.uploaded} uploaded, {report.unchanged} unchanged, {report.skipped} skipped")


@app.command()
def gtzan(
    folder: Annotated[Path, typer.Argument(help="Where to put it: FOLDER/<genre>/<track>.wav.")],
    keep: Annotated[Path | None, typer.Option(help="A list of track ids, such as a fault-filtered split.")] = None,
) -> None:
    """Fetch the GTZAN data set (through mirdata: uv sync --extra gtzan), without its known corrupt file."""
    from genre_assets.audio.gtzan import fetch

    typer.echo(f"{fetch(folder, keep=keep)} tracks in {folder}; next: genre-assets ingest {folder}")


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="build, ingest, retrain or drift: the same jobs as in the UI.")] = "build",
) -> None:
    """Launch a named Dagster job, as the UI does, and wait for it with progress. Exit code 1 if it fails."""
    from genre_assets.orchestrate import launch_and_follow

    launch_and_follow(load_settings(), job, report=console.print)


@app.command()
def extract(
    paths: Annotated[list[Path], typer.Argument(help="Audio files or folders.")],
    feature_set: Annotated[str | None, typer.Option(help="gtzan37 or default; default: GENRE_FEATURE_SET.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .parquet or .csv file; else CSV.")] = None,
    segment_seconds: Annotated[
        float | None, typer.Option(help="A row for each segment; default: for each file.")
    ] = None,
) -> None:
    """Extract features from files, without any service. Exit code 1 if a file could not be read."""
    from genre_assets.audio.extract_paths import extract_paths

    settings = load_settings()
    settings = settings.model_copy(update={"segment_seconds": segment_seconds or settings.max_seconds})
    with _progress_bar("extracting") as advance:
        frame = extract_paths(
            paths, feature_set=feature_set or settings.feature_set, settings=settings, progress=advance
        )
    if output is None:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif output.suffix == ".parquet":
        frame.to_parquet(output, index=False)
    else:
        frame.to_csv(output, index=False)
    bad = frame[frame["error"] != ""]
    for row in bad.itertuples():
        console.print(f"[red]{row.path}[/]: {row.error}", soft_wrap=True)
    if len(bad):
        raise typer.Exit(1)


@app.command()
def predict(paths: Paths, as_json: AsJson = False) -> None:
    """Ask the live ensemble for the genre of files, folders or s3:// keys. Exit code 1 if any item failed."""
    from genre_assets.serving.client import GenreClient, collect_items

    settings = load_settings()
    failed = False
    if _nothing_is_released(settings):
        raise BadInput(NOTHING_SERVED)
    with GenreClient(settings.triton_grpc) as client:
        for path, prediction in client.predict_each(collect_items(paths)):
            failed = failed or bool(prediction.error)
            typer.echo(json.dumps({"path": path, **prediction.as_dict()}) if as_json else _line(path, prediction))
    if failed:
        raise typer.Exit(1)


@app.command()
def promote(
    route: Annotated[str, typer.Argument(help="champion or fallback: the one that is to serve.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit table.")],
    pin: Annotated[bool, typer.Option("--pin", help="Hold it, whatever drift says, until the next promote.")] = False,
) -> None:
    """Let the champion or the fallback serve, by the same job that drift uses. Every move is audited."""
    from genre_assets.orchestrate import promote_route

    promote_route(load_settings(), route, reason=reason, pin=pin, report=console.print)


@app.command()
def history(limit: int = 50, as_json: AsJson = False) -> None:
    """Print the audit table: every move of champion, fallback and route, by whom, when and why."""
    from genre_assets import audit
    from genre_assets.database import Database

    moves = audit.history(Database(load_settings().database_url.get_secret_value()), limit=limit)
    if as_json:
        rows = [{**vars(move), "at": move.at.isoformat()} for move in moves]
        typer.echo(json.dumps(rows, indent=1))
        return
    table = Table("when", "what", "from", "to", "who", "why")
    for move in moves:
        when = move.at.strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(when, move.subject, move.moved_from or "-", move.moved_to, move.actor, move.reason)
    Console().print(table)


@app.command()
def rollback(
    version: Annotated[int, typer.Argument(help="The registry version that is to be champion (or fallback).")],
    reason: Annotated[str, typer.Option(help="Why; goes into the audit table.")],
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Roll back the fallback instead of the champion.")
    ] = False,
) -> None:
    """Go back to an earlier model version and serve it, without a rebuild. The move is audited."""
    from genre_assets.models.registry import ModelRegistry
    from genre_assets.models.rollback import rollback as move
    from genre_assets.orchestrate import launch_and_follow

    settings = load_settings()
    alias: Literal["champion", "fallback"] = "fallback" if fallback else "champion"
    registry = ModelRegistry.from_settings(settings)
    console.print(move(registry, version, alias=alias, actor="person", reason=reason))
    launch_and_follow(settings, "release", report=console.print)


@app.command()
def review(
    table: Annotated[Path, typer.Argument(help="A CSV file: the list to fill in, or with --take the filled-in one.")],
    take: Annotated[bool, typer.Option("--take", help="Send the labels in the file to labels/ in S3.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many clips.")] = 50,
) -> None:
    """Write the answered clips that are worth a label (least sure, most unlike the training data), or take labels back."""
    from genre_assets.database import Database
    from genre_assets.serving.review import candidates, take_labels, write_list
    from genre_assets.store import ObjectStore, s3_client

    settings = load_settings()
    store = ObjectStore(s3_client(settings))
    if take:
        key, count = take_labels(table, store, settings)
        typer.echo(f"{count} labels sent as {key}")
        return
    listed = candidates(Database(settings.database_url.get_secret_value()), store, settings, limit=limit)
    write_list(table, listed)
    typer.echo(
        f"{len(listed)} clips listed in {table}: fill in the column genre, then: genre-assets review {table} --take"
    )


@app.command()
def backfill(
    since: Annotated[datetime | None, typer.Option(help="Windows that closed since then (UTC); default: all.")] = None,
    pages: Annotated[bool, typer.Option("--pages", help="Also draw the Evidently page of each window.")] = False,
) -> None:
    """Judge past windows of answered requests again; safe to interrupt and repeat."""
    from genre_assets.database import Database
    from genre_assets.serving.backfill import backfill as judge_again
    from genre_assets.store import ObjectStore, s3_client

    settings = load_settings()
    judge_again(
        Database(settings.database_url.get_secret_value()),
        ObjectStore(s3_client(settings)),
        settings,
        since=since.replace(tzinfo=UTC) if since else None,
        pages=pages,
        on_window=lambda judged: typer.echo(f"{judged.window.id}: {judged.level}: {judged.reason}"),
    )


@app.command()
def demo(
    audio: Annotated[
        Path | None, typer.Option(help="Folder of your own audio; default: synthetic sample music.")
    ] = None,
) -> None:
    """Run the main job: audio to a live ensemble, drift to the fallback, clean audio back to the champion."""
    from genre_assets.demo.story import tell

    tell(audio)


def _route(settings: Settings) -> str | None:
    from genre_assets.serving.control import TritonControl

    try:
        return TritonControl.from_settings(settings).route()
    except GenreError:
        return None


def _nothing_is_released(settings: Settings) -> bool:
    """Whether the server is up and has no model at all: waiting for one would not help."""
    from genre_assets.serving.control import TritonControl

    control = TritonControl.from_settings(settings)
    try:
        return not control.ready() and control.index() == []
    except GenreError:
        return False  # the client knows better what is wrong, and tries again


def _print_status(services: dict[str, dict[str, Any]], settings: Settings) -> None:
    table = Table("service", "healthy", "address", "why")
    for name, service in services.items():
        address = service.get("url") or service.get("http") or ""
        table.add_row(name, "yes" if service["healthy"] else "[red]no[/]", address, service.get("why", ""))
    Console().print(table)
    route = _route(settings)
    typer.echo(f"route: {route or NOTHING_SERVED}")


def _line(path: str, prediction: Any) -> str:
    if prediction.error:
        return f"{path}: error: {prediction.error}"
    sure = max(prediction.probabilities.values())
    return f"{path}: {prediction.label} ({sure:.0%}, {prediction.model} version {prediction.version})"


@contextmanager
def _progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; the block is given `advance(done, total)`."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    main()
