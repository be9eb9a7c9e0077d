"""Audio in, features out: ingest, gtzan, extract."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from genre_assets.cli.base import console, plain, progress_bar, say, stack_settings
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.labels import LabelSet, of_names
from genre_assets.settings import load_settings
from genre_assets.text import visible


def ingest(
    place: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder whose sub-folders are labels, or s3://bucket/prefix.")
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many files of each label, the same ones each time.")
    ] = None,
    label_set: Annotated[
        str | None,
        typer.Option("--labels", help="gtzan, or a labels.yaml: the label set, where the bucket has none yet."),
    ] = None,
) -> None:
    """Upload audio into the raw bucket: DIR/<label>/<anything>.wav|mp3|mp4|m4a|flac|ogg.

    Before the first model every sub-folder with audio is a label; afterwards a new one is added by genre-assets labels add.

    A metadata.csv in it (file_name, label, group) counts before the sub-folders, a groups.csv (key, group) names groups.

    What is there already is not sent again. The sensor of the running stack then extracts the features.
    """
    from genre_assets.audio import ingest as ingesting
    from genre_assets.audio.sources import source_of
    from genre_assets.store import ObjectStore, s3_client

    settings = stack_settings("s3_endpoint_url")
    chosen = _label_set(label_set) if label_set else None
    with progress_bar("uploading") as advance:
        store = ObjectStore(s3_client(settings))
        source = source_of(place, store, settings)
        report = ingesting.ingest(
            source, store=store, settings=settings, limit=limit, label_set=chosen, progress=advance
        )
    for name, why in report.left_out.items():
        say(f"left out: {name}: {why}")
    if report.missing:
        say(f"to take them as labels: genre-assets labels add {' '.join(report.missing)}, then ingest again")
    if report.groups:
        typer.echo(f"{report.groups} groups new or changed, in s3://{settings.raw_bucket}/groups.csv")
    typer.echo(
        f"{report.uploaded} uploaded, {report.unchanged} unchanged, in s3://{settings.raw_bucket}; "
        f"{len(report.labels.names)} labels: {', '.join(report.labels.names)}"
    )


def _label_set(place: str) -> LabelSet:
    if place == "gtzan":
        return of_names(GENRES)
    try:
        return LabelSet.from_yaml(Path(place).read_bytes(), place)
    except OSError as error:
        raise BadInput(f"the label set {place} cannot be read: {error.strerror}; or: --labels gtzan") from error


def gtzan(
    folder: Annotated[Path, typer.Argument(help="Where to put it: FOLDER/<genre>/<track>.wav.")],
    keep: Annotated[Path | None, typer.Option(help="A list of track ids, such as a fault-filtered split.")] = None,
) -> None:
    """Fetch the GTZAN data set (through mirdata: uv sync --extra gtzan), without its known corrupt file."""
    from genre_assets.audio.gtzan import fetch

    typer.echo(f"{fetch(folder, keep=keep)} tracks in {folder}; next: genre-assets ingest {folder}")


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
    with progress_bar("extracting") as advance:
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
        console.print(Text.assemble((visible(row.path), "red"), ": ", plain(row.error)), soft_wrap=True)
    if len(bad):
        raise typer.Exit(1)
