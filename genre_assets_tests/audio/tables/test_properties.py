"""Each check holds on good tables, and fails on data made to break exactly its property."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from genre_assets.audio.extract import FEATURE_SETS
from genre_assets.audio.recordings.duplicates import settle
from genre_assets.audio.recordings.fingerprint import signature
from genre_assets.audio.tables import inventory, properties
from genre_assets.audio.tables.features import compose, empty_table
from genre_assets.audio.tables.rows import Rows
from genre_assets_tests.audio.sounds import RATE, music

SET = FEATURE_SETS["gtzan37"]


def file(key: str, sound: int = 0, **facts: Any) -> dict[str, Any]:
    """A row of the inventory, with its genre."""
    row: dict[str, Any] = dict.fromkeys(inventory.COLUMNS, "")
    row |= {"size": 1, "sample_rate": RATE, "channels": 1, "duration_s": 10.0}
    row |= {"key": key, "fingerprint": f"bytes {sound}", "signature": SIGNATURES[sound], "verdict": "ok"}
    return {
        **row,
        "last_modified": pd.Timestamp("2026-01-01", tz="UTC"),
        "genre": key.split("/", maxsplit=1)[0],
        **facts,
    }


SIGNATURES = [signature(music(6, seed=seed), RATE) for seed in range(3)]


def files(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Feature tables of the usable files."""
    values = np.arange(2 * len(SET.columns), dtype=np.float32).reshape(2, -1)
    known = {f: Rows(((0, 0.0, 10.0), (1, 10.0, 10.0)), values) for f in frame["fingerprint"]}
    usable = frame[frame["verdict"] == "ok"]
    return {str(g): compose(rows.reset_index(drop=True), str(g), SET, known) for g, rows in usable.groupby("genre")}


GOOD = files(file("rock/a", 0), file("pop/b", 1))


def test_the_share_in_quarantine_is_what_is_compared_with_the_limit() -> None:
    bad = files(*[file(f"rock/{i}", verdict="silent") for i in range(2)])
    everything = pd.concat([GOOD, bad])
    assert properties.quarantine_share(everything, bad, 0.5).passed
    assert not properties.quarantine_share(everything, bad, 0.49).passed
    unknown = files(file("polka/x", verdict="unknown_genre"))
    found = properties.quarantine_share(GOOD, unknown, 0.3)
    assert not found.passed
    assert found.facts["files"] == 3


def test_conflicting_labels_are_reported() -> None:
    assert properties.no_conflicting_labels(GOOD).passed
    settled = settle(files(file("rock/a", 0), file("pop/a", 0)))
    assert not properties.no_conflicting_labels(settled).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_found(value: float) -> None:
    good = tables(GOOD)
    assert properties.finite(good, SET.columns).passed
    good["rock"].loc[1, "mfcc_mean_3"] = value
    found = properties.finite(good, SET.columns)
    assert not found.passed
    assert (found.facts["files"], found.facts["columns"]) == ("rock/a", "mfcc_mean_3")


def test_another_column_another_order_or_another_type_is_found() -> None:
    expected = empty_table(SET).dtypes
    good = tables(GOOD)
    assert properties.schema({**good, "jazz": empty_table(SET)}, expected).passed
    for wrong in (
        good["rock"].drop(columns="rms_mean_0"),
        good["rock"][good["rock"].columns[::-1]],
        good["rock"].astype({"rms_mean_0": "float64"}),
        good["rock"].assign(extra=1.0),
    ):
        assert not properties.schema({**good, "rock": wrong}, expected).passed


def test_missing_stale_and_doubled_files_are_found() -> None:
    good = tables(GOOD)
    assert properties.same_files(good, GOOD).passed
    more = pd.concat([GOOD, files(file("rock/new", 2))], ignore_index=True)
    assert properties.same_files(good, more).facts["missing"] == "rock/new"
    assert properties.same_files(good, more, {"bytes 2"}).passed
    overwritten = GOOD.assign(fingerprint=["other bytes", "bytes 1"])
    assert properties.same_files(good, overwritten).facts["stale"] == "rock/a"
    doubled = {**good, "rock": pd.concat([good["rock"], good["rock"]])}
    assert properties.same_files(doubled, GOOD).facts["segments twice"] == 2


def verdicts(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(frame["key"], frame["verdict"], strict=True))


def test_duplicates_in_a_genre_leave_the_first_key() -> None:
    settled = settle(files(file("rock/c", 0), file("rock/a", 0), file("rock/b", 0, fingerprint="re-encoded")))
    assert verdicts(settled) == {"rock/a": "ok", "rock/b": "duplicate_recording", "rock/c": "duplicate"}
    assert settled["recording"].nunique() == 1


def test_settling_does_not_depend_on_order_or_on_earlier_settlements() -> None:
    rows = [file("rock/a", 0), file("pop/a", 0), file("rock/b", 1), file("rock/c", 1), file("jazz/d", 2)]
    first = settle(files(*rows))
    assert verdicts(settle(files(*rows[::-1]))) == verdicts(first)
    assert verdicts(settle(first)) == verdicts(first)
    assert verdicts(settle(first[first["key"] != "pop/a"])) == {
        "rock/a": "ok", "rock/b": "ok", "rock/c": "duplicate", "jazz/d": "ok",
    }  # fmt: skip


def test_bad_files_take_no_part_in_the_settlement() -> None:
    settled = settle(files(file("rock/a", 0), file("pop/a", 0, verdict="truncated")))
    assert verdicts(settled) == {"rock/a": "ok", "pop/a": "truncated"}
