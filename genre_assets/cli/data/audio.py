"""Audio in, features out: ingest, gtzan, extract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from genre_assets.cli.base import console, counted, interruptible, plain, progress_bar, say, stack_settings
from genre_assets.errors import BadInput
from genre_assets.genres import GENRES
from genre_assets.labels import LabelSet, of_names
from genre_assets.settings import Settings, load_settings
from genre_assets.store import ObjectStore, s3_client
from genre_assets.text import visible

Table = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Ready features (Parquet, CSV) in place of audio.")
]


def ingest(
    place: Annotated[
        str | None, typer.Argument(metavar="DIR", help="Folder whose sub-folders are labels, or s3://bucket/prefix.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many files of each label, the same ones each time.")
    ] = None,
    label_set: Annotated[
        str | None,
        typer.Option("--labels", help="gtzan, or a labels.yaml: the label set, where the bucket has none yet."),
    ] = None,
    tags: Annotated[
        bool,
        typer.Option(help="Whether a new file without a group is of the group that its artist or album tag names."),
    ] = True,
    table: Table = None,
    validation: Table = None,
    test: Table = None,
    feature_set: Annotated[
        str | None, typer.Option(help="Of the tables' columns: default or gtzan37; default: GENRE_FEATURE_SET.")
    ] = None,
    remove_tables: Annotated[
        bool, typer.Option("--remove-tables", help="Take ready tables away: audio counts again.")
    ] = False,
) -> None:
    """Upload audio into the raw bucket: DIR/<label>/<anything>.wav|mp3|mp4|m4a|flac|ogg.

    Before the first model every sub-folder with audio is a label; afterwards a new one is added by genre-assets labels add.

    A metadata.csv in it (file_name, label, group, split) counts before the sub-folders, a groups.csv (key, group) names groups.

    What is there already is not sent again. The sensor of the running stack then extracts the features.

    With --table, features that somebody else computed stand in for audio: genre, the columns of the feature set and, where
    known, key, recording, group, split.
    """
    if sum((place is not None, table is not None, remove_tables)) != 1:
        raise BadInput("give one of: a folder or s3://bucket/prefix, --table FILE, --remove-tables")
    if table is None and (validation or test or feature_set):
        raise BadInput("--validation, --test and --feature-set say something of --table FILE")
    if table is not None and (limit or label_set or not tags):
        raise BadInput("--limit, --labels and --no-tags are for audio")
    settings = stack_settings("s3_endpoint_url")
    store = ObjectStore(s3_client(settings))
    if place is not None:
        _ingest_audio(place, store, settings, limit, label_set, tags=tags)
    elif table is not None:
        files = {"train": table, "validation": validation, "test": test}
        _ingest_tables({split: file for split, file in files.items() if file}, store, settings, feature_set)
    else:
        from genre_assets.models.data import ready

        typer.echo("the ready tables are removed" if ready.remove(store, settings) else "there are no ready tables")


def _ingest_audio(
    place: str, store: ObjectStore, settings: Settings, limit: int | None, label_set: str | None, *, tags: bool
) -> None:
    from genre_assets.audio import ingest as ingesting
    from genre_assets.audio.groups import FROM_TAGS
    from genre_assets.audio.sources import source_of

    chosen = _label_set(label_set) if label_set else None
    kept = f"what was uploaded stays in s3://{settings.raw_bucket}; the same command sends the rest"
    with interruptible(kept), progress_bar("uploading") as advance:
        source = source_of(place, store, settings)
        report = ingesting.ingest(
            source, store=store, settings=settings, limit=limit, label_set=chosen, tags=tags, progress=advance
        )
    for name, why in report.left_out.items():
        say(f"left out: {name}: {why}")
    if report.missing:
        say(f"to take them as labels: genre-assets labels add {' '.join(report.missing)}, then ingest again")
    if report.groups:
        typer.echo(f"{report.groups} groups new or changed, in s3://{settings.raw_bucket}/groups.csv")
    if report.splits:
        typer.echo(f"{report.splits} splits new or changed, in s3://{settings.raw_bucket}/splits.csv")
    if report.from_tags:
        typer.echo(
            f"{report.from_tags} files have the group that their tags name, in s3://{settings.raw_bucket}/groups.csv "
            f"(source {FROM_TAGS}); leave tags out with --no-tags"
        )
    typer.echo(
        f"{report.uploaded} uploaded, {report.unchanged} unchanged, in s3://{settings.raw_bucket}; "
        f"{len(report.labels.names)} labels: {', '.join(report.labels.names)}"
    )


def _ingest_tables(files: Mapping[str, Path], store: ObjectStore, settings: Settings, feature_set: str | None) -> None:
    from genre_assets.models.data import ready

    rows = ready.ingest(store, settings, files, feature_set or settings.feature_set)
    counts = rows.groupby("genre").size()
    typer.echo(
        f"{len(rows)} rows of {len(counts)} labels ({', '.join(counts.index)}), in s3://{settings.features_bucket}/ready; "
        "next: genre-assets run"
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
    from genre_assets.audio.extract import feature_set_named
    from genre_assets.audio.extract_paths import extract_paths

    settings = load_settings()
    settings = settings.model_copy(update={"segment_seconds": segment_seconds or settings.max_seconds})
    wanted = feature_set or settings.feature_set
    with progress_bar("extracting") as advance:
        frame = extract_paths(paths, feature_set=wanted, settings=settings, progress=advance)
    if output is None:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif output.suffix == ".parquet":
        frame.to_parquet(output, index=False)
    else:
        frame.to_csv(output, index=False)
    bad = frame[frame["error"] != ""]
    for row in bad.itertuples():
        console.print(Text.assemble((visible(row.path), "red"), ": ", plain(row.error)), soft_wrap=True)
    columns = len(feature_set_named(wanted).columns)
    rows = f"{counted(len(frame) - len(bad), 'row', 'rows')} of {columns} features ({wanted})"
    where = f", in {output}" if output else ""
    unread = f"; {len(bad)} could not be read" if len(bad) else ""
    say(f"{counted(frame['path'].nunique(), 'file', 'files')}: {rows}{where}{unread}")
    if len(bad):
        raise typer.Exit(1)
