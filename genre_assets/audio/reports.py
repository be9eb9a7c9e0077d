"""What people see of the audio stage in the UI: metadata, small tables and plots, as plain values and Markdown."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from genre_assets import keys
from genre_assets.audio.decoding.reasons import MEANING, OK, Reason
from genre_assets.pictures import as_markdown, as_png
from genre_assets.settings import Settings
from genre_assets.text import in_markdown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Facts = dict[str, str | int | float]
VERSION = "version of the table"
_BLUE, _ORANGE = "#2a6f97", "#e07a2f"


def said_of_inventory(tables: "Mapping[str, pd.DataFrame]", inspected: int) -> str:
    """What a run made of the inventory, in one sentence. `tables` are the inventories of its labels."""
    files = sum(len(table) for table in tables.values())
    usable = sum(int((table["verdict"] == OK).sum()) for table in tables.values())
    return (
        f"{files:,} files of {len(tables)} labels: {usable:,} usable, {files - usable:,} in quarantine; "
        f"{inspected:,} looked at in this run."
    )


def said_of_features(tables: "Mapping[str, pd.DataFrame]", extracted: int) -> str:
    """What a run made of the features, in one sentence. `tables` are the feature tables of its labels."""
    rows = sum(len(table) for table in tables.values())
    recordings = sum(int(table["recording"].nunique()) for table in tables.values())
    return f"{rows:,} segments of {recordings:,} recordings, {len(tables)} labels; {extracted:,} files new in this run."


def of_inventory(table: "pd.DataFrame", settings: Settings, genre: str) -> Facts:
    """Metadata of one genre's inventory."""
    usable = table[table["verdict"] == OK]
    return {
        "files": len(table),
        "usable": len(usable),
        "in quarantine": len(table) - len(usable),
        "hours": round(float(usable["duration_s"].sum()) / 3600, 3),
        "inventory": f"s3://{settings.features_bucket}/{keys.parts(keys.inventory(genre))}*.parquet",
        "quarantine": f"s3://{settings.features_bucket}/{keys.quarantine(genre)}",
    }


def of_features(table: "pd.DataFrame", settings: Settings, genre: str) -> Facts:
    """Metadata of one genre's features."""
    return {
        "dagster/row_count": len(table),
        "recordings": int(table["recording"].nunique()),
        "hours": round(float(table["seconds"].sum()) / 3600, 3),
        "table": f"s3://{settings.features_bucket}/{keys.parts(keys.features(settings.feature_set, genre))}*.parquet",
    }


def what_was_done(genre: str, asked: bool, written: Collection[str]) -> str:
    """What a run did to the table of a genre, for its page. A range of genres has some that nobody changed."""
    if asked:
        return "its table was written" if genre in written else "nothing: its table is as it was"
    if genre in written:
        return "its table was written, because of a change in another genre"
    return "nothing: an earlier run wrote its table and was stopped before it could say so"


def table_of_reasons(tables: "Mapping[str, pd.DataFrame]", *, examples: int = 3) -> str:
    """How many files are in quarantine for which reason, with examples, as Markdown."""
    lines = ["| reason | files | what it means | for example |", "|---|---|---|---|"]
    for reason in Reason:
        rows = [row for table in tables.values() for row in table[table["verdict"] == reason].itertuples()]
        if rows:
            shown = "; ".join(f"{in_markdown(row.key)}: {in_markdown(row.detail)}" for row in rows[:examples])
            lines.append(f"| {reason} | {len(rows)} | {MEANING[reason]} | {shown} |")
    return "\n".join(lines) if len(lines) > 2 else "nothing in quarantine"


def table_of_times(times: Sequence[tuple[str, float]]) -> str:
    """Keys and seconds as Markdown."""
    rows = [f"| {in_markdown(key)} | {seconds:.2f} |" for key, seconds in times]
    return "\n".join(["| file | seconds |", "|---|---|", *rows]) if rows else "none"


def table_of_failures(failed: Mapping[str, str]) -> str:
    """Keys and what was wrong, as Markdown."""
    rows = [f"| {in_markdown(key)} | {in_markdown(why)} |" for key, why in sorted(failed.items())]
    return "\n".join(["| file | why |", "|---|---|", *rows]) if rows else "none"


def plot_of_verdicts(tables: "Mapping[str, pd.DataFrame]") -> str:
    """Usable files and files in quarantine of each genre, as an image in Markdown."""
    usable = [int((table["verdict"] == OK).sum()) for table in tables.values()]
    others = [len(table) - count for table, count in zip(tables.values(), usable, strict=True)]

    def draw(axes: "Axes") -> None:
        axes.barh(list(tables), usable, color=_BLUE, label="usable")
        axes.barh(list(tables), others, left=usable, color=_ORANGE, label="in quarantine")
        axes.set_xlabel("files")
        axes.legend()

    return _image("files by genre", len(tables), draw)


def plot_of_segments(tables: "Mapping[str, pd.DataFrame]") -> str:
    """Segments of each genre, as an image in Markdown."""

    def draw(axes: "Axes") -> None:
        axes.barh(list(tables), [len(table) for table in tables.values()], color=_BLUE)
        axes.set_xlabel("segments")

    return _image("segments by genre", len(tables), draw)


def _image(title: str, bars: int, draw: "Callable[[Axes], None]") -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1 + 0.3 * bars), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.invert_yaxis()
    return as_markdown(title, as_png(figure))
