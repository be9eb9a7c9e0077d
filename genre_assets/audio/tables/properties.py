"""The properties that the checks state, as pure functions over tables."""

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np

from genre_assets.audio.decoding.reasons import OK, Reason
from genre_assets.audio.tables import listing
from genre_assets.checks import CheckFinding
from genre_assets.labels import advice

if TYPE_CHECKING:
    import pandas as pd

Fact = int | float | str
SHOWN = 10


def quarantine_share(files: "pd.DataFrame", quarantine: "pd.DataFrame", limit: float) -> CheckFinding:
    """At most `limit` of all files are in quarantine. `quarantine` has those in no genre's folder as well."""
    total = len(files) + int((quarantine["verdict"] == Reason.UNKNOWN_GENRE).sum())
    share = len(quarantine) / total if total else 0.0
    counts = {str(reason): int(count) for reason, count in quarantine["verdict"].value_counts().items()}
    return CheckFinding(
        share <= limit,
        f"{len(quarantine)} of {total} files are in quarantine ({share:.1%}; the limit is {limit:.0%})",
        {"files": total, "in quarantine": len(quarantine), "share": share, "limit": limit, **counts},
    )


def every_folder_is_a_label(unknown: "pd.DataFrame") -> CheckFinding:
    """No file lies outside of the labels' folders; `unknown` is the quarantine of those that do. Says what to do."""
    named = [
        f"{count} in {folder}/ ({advice(folder)})" if folder else f"{count} in no folder"
        for folder, count in listing.by_folder(unknown["key"]).items()
    ]
    said = f"{len(unknown)} files lie in no label's folder: {', '.join(named[:SHOWN])}"
    return CheckFinding(
        unknown.empty,
        said if named else "every file lies in a label's folder",
        {"files": len(unknown), "folders": ", ".join(named[:SHOWN]) or "none"},
    )


def no_conflicting_labels(files: "pd.DataFrame") -> CheckFinding:
    """No recording is there in two genres."""
    rows = files[files["verdict"] == Reason.CONFLICTING_LABEL]
    keys = ", ".join(rows["key"][:SHOWN])
    return CheckFinding(
        rows.empty,
        f"{rows['recording'].nunique()} recordings lie in more than one genre's folder",
        {"recordings": int(rows["recording"].nunique()), "files": len(rows), "keys": keys or "none"},
    )


def finite(tables: "Mapping[str, pd.DataFrame]", columns: Sequence[str]) -> CheckFinding:
    """Every value of every feature column is finite."""
    bad_files: list[str] = []
    bad_columns: set[str] = set()
    rows = 0
    for table in tables.values():
        present = [column for column in columns if column in table]
        wrong = ~np.isfinite(table[present].to_numpy(np.float32))
        rows += len(table)
        bad_files += table.loc[wrong.any(axis=1), "key"].unique().tolist()
        bad_columns |= {present[i] for i in np.flatnonzero(wrong.any(axis=0))}
    return CheckFinding(
        not bad_files,
        f"{len(bad_files)} files have features that are not finite, of {rows} rows",
        {
            "rows": rows,
            "files": ", ".join(bad_files[:SHOWN]) or "none",
            "columns": ", ".join(sorted(bad_columns)) or "none",
        },
    )


def schema(tables: "Mapping[str, pd.DataFrame]", expected: "pd.Series") -> CheckFinding:
    """Names, order and types of the columns are the expected ones in every table."""
    wrong: dict[str, Fact] = {}
    for genre, table in tables.items():
        names, wanted = list(table.columns), list(expected.index)
        if names != wanted:
            difference = sorted(set(names) ^ set(wanted)) or ["order"]
            wrong[genre] = f"columns differ: {', '.join(difference[:SHOWN])}"
        else:
            types = [name for name in wanted if not _same_type(table[name].dtype, expected[name])]
            if types:
                wrong[genre] = f"types differ: {', '.join(types[:SHOWN])}"
    summary = f"{len(tables) - len(wrong)} of {len(tables)} tables have the {len(expected)} columns they should"
    return CheckFinding(not wrong, summary, {"tables": len(tables), "columns": len(expected), **wrong})


def _same_type(found: object, expected: object) -> bool:
    text = {"object", "str", "string"}
    return found == expected or (str(found) in text and str(expected) in text)


def same_files(
    tables: "Mapping[str, pd.DataFrame]",
    files: "pd.DataFrame",
    left_out: Set[str] = frozenset(),
    gone: Set[str] = frozenset(),
) -> CheckFinding:
    """Exactly the usable files of the inventory have features, with the same bytes, each segment once.

    `left_out` are fingerprints of files that are known to give no features, `gone` keys of files that were deleted or
    overwritten since they were inventoried.
    """
    usable = files[(files["verdict"] == OK) & files["genre"].isin(list(tables))]
    usable = usable[~usable["fingerprint"].isin(list(left_out)) & ~usable["key"].isin(list(gone))]
    wanted = set(zip(usable["key"], usable["fingerprint"], strict=True))
    found = {pair for t in tables.values() for pair in zip(t["key"], t["fingerprint"], strict=True)}
    doubled = sum(int(table.duplicated(["key", "segment"]).sum()) for table in tables.values())
    missing, stale = sorted(wanted - found), sorted(found - wanted)
    return CheckFinding(
        not missing and not stale and not doubled,
        f"{len(missing)} usable files have no features, {len(stale)} have stale ones, {doubled} segments are there twice",
        {
            "files": len(wanted),
            "left out": len(left_out),
            "changed since the inventory": ", ".join(sorted(gone)[:SHOWN]) or "none",
            "missing": ", ".join(key for key, _ in missing[:SHOWN]) or "none",
            "stale": ", ".join(key for key, _ in stale[:SHOWN]) or "none",
            "segments twice": doubled,
        },
    )
