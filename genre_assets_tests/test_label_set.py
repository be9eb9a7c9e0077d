"""The label set as such: names, other names, changes, and what `labels.yaml` may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre_assets.errors import BadInput
from genre_assets.labels import LONGEST, Label, LabelSet, difference, name_for, of_names

BIRDS = LabelSet((Label("great_tit", ("Parus major",), "common"), Label("robin"), Label("wren")))


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("Hip-Hop", "hip_hop"),
        ("drum  and bass", "drum_and_bass"),
        ("90s", "90s"),
        ("Élan", "élan"),
        ("Straße", "strasse"),
    ],
)
def test_a_folder_names_a_label(folder: str, label: str) -> None:
    assert name_for(folder) == label


@pytest.mark.parametrize(
    "folder", ["", "_x", ".git", "__MACOSX", "labels", "unknown", "Unknown", "r&b", "a/b", "x" * 61, "a.b", "\x00"]
)
def test_a_folder_that_can_name_no_label_names_none(folder: str) -> None:
    assert name_for(folder) is None
    with pytest.raises(BadInput, match="a label cannot be named"):
        of_names(["rock"]).with_labels([folder])


@given(st.text(max_size=2 * LONGEST))
def test_what_a_folder_names_can_be_kept_and_read_again(folder: str) -> None:
    name = name_for(folder)
    if name is not None:
        assert name_for(name) == name
        assert LabelSet.from_yaml(of_names([name]).to_yaml(), "labels.yaml").names == (name,)


@pytest.mark.parametrize(
    ("text", "label"), [("Great Tit", "great_tit"), ("parus-major", "great_tit"), ("WREN", "wren"), ("crow", None)]
)
def test_other_ways_to_write_a_label_are_found(text: str, label: str | None) -> None:
    assert BIRDS.find(text) == label


def test_the_version_follows_names_and_order_alone() -> None:
    names = BIRDS.names
    assert of_names(names).version == BIRDS.version
    assert len({of_names(order).version for order in (names, names[::-1], names[:2])}) == 3


def test_changes_keep_the_order_of_the_others() -> None:
    assert BIRDS.with_labels(["Carrion Crow"]).names == ("great_tit", "robin", "wren", "carrion_crow")
    assert BIRDS.without("robin").names == ("great_tit", "wren")
    renamed = BIRDS.renamed("robin", "redbreast")
    assert renamed.names == ("great_tit", "redbreast", "wren")
    assert renamed.find("robin") == "redbreast"
    assert renamed.renamed("redbreast", "robin").labels[1] == Label("robin", ("redbreast",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: BIRDS.with_labels(["Robin"]), "the label robin is there already"),
        (lambda: BIRDS.with_labels(["parus major"]), "the label great_tit is there already, also for parus_major"),
        (lambda: BIRDS.with_labels(["crow", "CROW"]), "the labels crow and crow are both known as crow"),
        (lambda: BIRDS.without("crow"), "there is no label 'crow'; there are: great_tit, robin, wren"),
        (lambda: BIRDS.renamed("robin", "wren"), "the label wren is there already"),
        (lambda: BIRDS.with_aliases("wren", ["Robin"]), "are both known as robin"),
        (lambda: LabelSet((Label("Rock"),)), "a label cannot be named 'Rock'"),
    ],
)
def test_a_change_that_cannot_be_is_refused(change: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        change()  # type: ignore[operator]


def test_labels_yaml_is_read_as_it_is_written() -> None:
    assert LabelSet.from_yaml(BIRDS.to_yaml(), "labels.yaml") == BIRDS
    assert LabelSet.from_yaml(b"[rock, pop, 90]", "labels.yaml").names == ("rock", "pop", "90")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "expected a list of labels"),
        (b"rock: 1", "expected a list of labels"),
        (b"[a: b: c", "is no YAML"),
        (b"- \xff\xfe", "is no YAML"),
        (b"- {aliases: [x]}", "label 1: expected a name"),
        (b"- rock\n- {name: pop, colour: red}", "label 2: expected a name"),
        (b"- {name: pop, aliases: x}", "label 1: aliases must be a list"),
        (b"- rock\n- true", "label 2: expected a name"),
        (b"- rock\n- Rock!", "a label cannot be named 'Rock!'"),
        (b"- rock\n- rock", "are both known as rock"),
        (b"- !!python/object/apply:os.system [id]", "is no YAML"),
        (b" " * 1_000_001, "has at most 1 MB"),
    ],
)
def test_labels_yaml_that_cannot_be_read_is_refused_with_its_name(text: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=rf"labels.yaml.*({said})"):
        LabelSet.from_yaml(text, "s3://raw/labels.yaml")


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_partitions_follow_the_set_in_its_order(there: list[str], wanted: list[str]) -> None:
    gone, new = difference(there, wanted)
    assert [*(one for one in there if one not in gone), *new] == wanted
    if there == wanted[: len(there)]:
        assert gone == [], "a label that is added touches no partition of before"
