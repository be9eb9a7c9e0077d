"""Splits and folds: grouped, stratified, stable, and leak-free; and the leak finder finds what it must."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.models.data.split import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    assign_splits,
    folds,
    leaks,
    merge_groups,
    near_duplicates,
)
from genre_assets_tests.models.conftest import COLUMNS, synthetic_training_set

collections = st.dictionaries(
    st.sampled_from(["blues", "jazz", "rock"]), st.integers(min_value=1, max_value=30), min_size=1
)


def named(sizes: dict[str, int]) -> tuple[list[str], list[str]]:
    """Groups and labels of a collection with so many groups of each genre."""
    pairs = [(f"{genre}-{i}", genre) for genre, n in sizes.items() for i in range(n)]
    return [g for g, _ in pairs], [label for _, label in pairs]


@given(collections)
def test_every_genre_trains_and_is_held_out_when_it_has_three_groups(sizes: dict[str, int]) -> None:
    groups, labels = named(sizes)
    split = assign_splits(groups, labels)
    for genre, n in sizes.items():
        of_genre = [s for s, label in zip(split, labels, strict=True) if label == genre]
        assert of_genre.count(TRAIN) >= n / 2
        assert (VALIDATION in of_genre) == (n >= 3)
        assert (TEST in of_genre) == (n >= 6)


@given(collections, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_the_rows(sizes: dict[str, int], random: object) -> None:
    groups, labels = named(sizes)
    there = dict(zip(groups, assign_splits(groups, labels), strict=True))
    order = list(range(len(groups)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = [groups[i] for i in order]
    again = assign_splits(shuffled, [labels[i] for i in order])
    assert dict(zip(shuffled, again, strict=True)) == there


def test_adding_clips_leaves_nearly_every_group_where_it_was() -> None:
    groups, labels = named({"blues": 100, "jazz": 100})
    before = dict(zip(groups, assign_splits(groups, labels), strict=True))
    more, more_labels = named({"blues": 130, "jazz": 110})
    after = dict(zip(more, assign_splits(more, more_labels), strict=True))
    assert sum(before[g] != after[g] for g in before) <= 4


def test_a_group_with_rows_of_two_genres_has_one_place() -> None:
    groups = ["miles", "miles", *(f"g{i}" for i in range(20))]
    labels = ["jazz", "rock", *(["jazz", "rock"] * 10)]
    split = assign_splits(groups, labels)
    assert split[0] == split[1]


@given(collections.filter(lambda sizes: sum(sizes.values()) > 1), st.integers(2, 6))
def test_folds_cover_each_row_once_and_keep_groups_whole(sizes: dict[str, int], count: int) -> None:
    groups, labels = named(sizes)
    groups, labels = groups * 2, labels * 2
    coded = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    held = folds(groups, coded, count, seed=3)
    assert sorted(np.concatenate(held).tolist()) == list(range(len(groups)))
    for fold in held:
        inside = {groups[i] for i in fold}
        outside = {groups[i] for i in set(range(len(groups))) - set(fold.tolist())}
        assert not inside & outside


def test_folds_have_about_the_same_mix_of_genres() -> None:
    groups, labels = named({"blues": 25, "jazz": 25})
    coded = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    for fold in folds(groups, coded, 5, seed=1):
        assert np.bincount(coded[fold]).tolist() == [5, 5]


def test_one_group_cannot_be_cross_validated() -> None:
    with pytest.raises(ValueError, match="two groups"):
        folds(["a", "a"], np.array([0, 1]), 5, seed=0)


def test_near_duplicates_are_found_and_others_are_not() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    rows[150] = rows[20] + 1e-5
    rows[40] = rows[20]
    rows[60] = rows[20] + 0.1
    assert near_duplicates(rows) == [(20, 40), (20, 150), (40, 150)]


def test_near_duplicates_are_those_that_a_full_comparison_finds() -> None:
    random = np.random.default_rng(1)
    rows = np.repeat(random.normal(size=(40, 3)), 3, axis=0) + random.normal(scale=4e-4, size=(120, 3))
    spread = np.subtract(*np.percentile(rows, [75, 25], axis=0))
    apart = np.abs((rows[:, None] - rows[None]) / spread).max(axis=2)
    expected = [(i, j) for i in range(120) for j in range(i + 1, 120) if apart[i, j] <= 1e-3]
    assert near_duplicates(rows) == expected
    assert 0 < len(expected) < 120


def test_groups_that_share_a_duplicate_become_one() -> None:
    assert merge_groups(["a", "b", "c", "d"], [(1, 2), (2, 0)]) == ["a", "a", "a", "d"]


def test_a_sound_training_set_has_no_leak() -> None:
    made = synthetic_training_set(8)
    assert leaks(made.frame, COLUMNS) == []
    assert set(made.frame["split"]) == set(SPLITS)


@pytest.mark.parametrize("unit", ["group", "recording", "fingerprint"])
def test_a_unit_in_two_splits_is_a_leak(unit: str) -> None:
    frame = synthetic_training_set(8).frame
    train, held = (frame.index[frame["split"] == s][0] for s in (TRAIN, TEST))
    frame.loc[train, unit] = frame.loc[held, unit]
    assert [found for found in leaks(frame, COLUMNS) if found.startswith(unit)]


def test_the_same_row_in_two_splits_is_a_leak() -> None:
    frame: pd.DataFrame = synthetic_training_set(8).frame
    train, held = (frame.index[frame["split"] == s][0] for s in (TRAIN, TEST))
    frame.loc[train, list(COLUMNS)] = frame.loc[held, list(COLUMNS)]
    (found,) = leaks(frame, COLUMNS)
    assert "are the same" in found
