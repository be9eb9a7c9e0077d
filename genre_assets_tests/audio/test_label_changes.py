"""From an empty bucket to a kept label set, and what adding, removing and renaming a label do to the bucket and its tables."""

from pathlib import Path

import pytest

from genre_assets import labels
from genre_assets.audio import groups, label_changes, splits
from genre_assets.audio.ingest import ingest
from genre_assets.audio.sources import Folder
from genre_assets.audio.tables import inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets.errors import BadInput
from genre_assets.labels import LabelSet, of_names
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file


def put(store: ObjectStore, settings: Settings, *keys: str) -> None:
    for number, key in enumerate(keys):
        store.put_bytes(settings.raw_bucket, key, sound_file(music(2, seed=number)))


def audio_in(store: ObjectStore, settings: Settings) -> list[str]:
    return [o.key for o in store.list(settings.raw_bucket) if o.key.endswith(".wav")]


def write(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sound_file(music(1, seed=50 + number)))
    return folder


def test_until_the_first_model_every_folder_with_audio_is_a_label(
    tmp_path: Path, store: ObjectStore, settings: Settings
) -> None:
    folder = write(tmp_path / "birds", "Great Tit/a.wav", "robin/b.wav", "notes/read.me", ".cache/c.wav")
    done = ingest(Folder(folder), store=store, settings=settings)
    assert (done.uploaded, done.labels.names) == (2, ("great_tit", "robin"))
    assert audio_in(store, settings) == ["great_tit/a.wav", "robin/b.wav"]
    more = ingest(Folder(write(tmp_path / "more", "great-tit/d.wav", "wren/e.wav")), store=store, settings=settings)
    assert (more.labels.names, more.missing) == (("great_tit", "robin", "wren"), ())
    assert labels.names(store, settings) == ("great_tit", "robin", "wren")
    assert labels.read_kept(store, settings) is None


def test_once_kept_an_unknown_folder_is_left_out_with_what_to_do(
    tmp_path: Path, store: ObjectStore, settings: Settings
) -> None:
    labels.keep(store, settings, of_names(["robin", "wren"]))
    folder = write(tmp_path / "birds", "Crow/a.wav", "robin/b.wav")
    done = ingest(Folder(folder), store=store, settings=settings)
    assert (done.uploaded, done.left_out, done.missing) == (
        1,
        {"Crow/": "1 file in a folder that is no label's"},
        ["crow"],
    )
    with pytest.raises(BadInput, match="no audio of a label: found Crow, the labels are robin, wren; add one with"):
        ingest(Folder(write(tmp_path / "crows", "Crow/a.wav")), store=store, settings=settings)
    label_changes.add(store, settings, done.missing)
    again = ingest(Folder(folder), store=store, settings=settings)
    assert (again.uploaded, again.left_out, again.labels.names) == (1, {}, ("robin", "wren", "crow"))


def test_a_label_set_that_is_given_is_kept_and_no_other_is_taken(
    tmp_path: Path, store: ObjectStore, settings: Settings
) -> None:
    given = LabelSet.from_yaml(b"[{name: wren, aliases: [Zaunkoenig]}, robin]", "labels.yaml")
    folder = write(tmp_path / "birds", "Zaunkoenig/a.wav", "crow/b.wav")
    done = ingest(Folder(folder), store=store, settings=settings, label_set=given)
    assert (audio_in(store, settings), done.missing) == (["wren/a.wav"], ["crow"])
    assert labels.read(store, settings) == given
    with pytest.raises(BadInput, match=r"labels.yaml has other labels already \(wren, robin\)"):
        ingest(Folder(folder), store=store, settings=settings, label_set=of_names(["wren"]))


def test_an_installation_of_before_has_the_labels_of_its_training_set(store: ObjectStore, settings: Settings) -> None:
    """A folder that was of no genre then is no label now."""
    put(store, settings, "robin/a.wav", "wren/b.wav", "polka/c.wav")
    store.write_json(settings.features_bucket, "training_set/manifest.json", {"genres": ["wren", "robin"]})
    assert labels.names(store, settings) == ("wren", "robin"), "in the order of its models' probabilities"
    assert dict(label_changes.overview(store, settings).unknown) == {"polka": 1}
    label_changes.add(store, settings, ["polka"])
    assert labels.names(store, settings) == ("wren", "robin", "polka")


def test_an_unreadable_label_set_is_named_and_nothing_is_guessed(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "robin/a.wav")
    store.put_bytes(settings.raw_bucket, "labels.yaml", b"robin: yes")
    with pytest.raises(BadInput, match=r"/labels.yaml: expected a list of labels"):
        inventory.update(store, settings, ["robin"])


def test_a_folder_of_no_label_is_shown_and_its_files_are_quarantined(store: ObjectStore, settings: Settings) -> None:
    labels.keep(store, settings, of_names(["robin", "wren"]))
    put(store, settings, "robin/a.wav", "crow/b.wav", "crow/c.wav", "d.wav")
    seen = label_changes.overview(store, settings)
    assert (dict(seen.objects), dict(seen.unknown), seen.kept) == ({"robin": 1, "wren": 0}, {"": 1, "crow": 2}, True)
    inventory.update(store, settings, ["robin"])
    (detail,) = set(inventory.read(store, settings, "unknown", quarantine=True)["detail"])
    assert detail == "its folder is no label's (robin, wren); genre-assets labels add makes it one"
    label_changes.add(store, settings, ["crow"])
    inventory.update(store, settings, ["crow"])
    assert inventory.read(store, settings, "crow")["verdict"].tolist() == ["ok", "ok"]
    assert inventory.read(store, settings, "unknown", quarantine=True)["key"].tolist() == ["d.wav"]


def test_a_removed_label_is_in_no_table_and_its_audio_stays(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "crow/a.wav", "robin/b.wav", "wren/c.wav")
    inventory.update(store, settings, labels.names(store, settings))
    label_changes.remove(store, settings, "crow")
    inventory.update(store, settings, ["crow", "robin"])  # a run that was asked for before
    assert sorted(set(inventory.read_all(store, settings)["genre"])) == ["robin", "wren"]
    assert inventory.read(store, settings, "unknown", quarantine=True)["key"].tolist() == ["crow/a.wav"]
    assert len(audio_in(store, settings)) == 3
    with pytest.raises(BadInput, match="a classifier needs two labels"):
        label_changes.remove(store, settings, "wren")


def test_a_renamed_label_takes_its_audio_and_groups_along_and_extracts_nothing_again(
    store: ObjectStore, settings: Settings
) -> None:
    put(store, settings, "robin/a.wav", "robin/deep/b.wav", "wren/c.wav")
    groups.add(store, settings, {"robin/a.wav": "garden", "wren/c.wav": "wood"})
    splits.add(store, settings, {"robin/a.wav": "test", "wren/c.wav": "train"})
    inventory.update(store, settings, ["robin", "wren"])
    refresh(store, settings, ["robin", "wren"])
    label, moved = label_changes.rename(store, settings, "robin", "Redbreast")
    assert (label.name, label.aliases, moved) == ("redbreast", ("robin",), 2)
    assert audio_in(store, settings) == ["redbreast/a.wav", "redbreast/deep/b.wav", "wren/c.wav"]
    assert groups.read(store, settings)["redbreast/a.wav"] == "garden"
    assert splits.read(store, settings)["redbreast/a.wav"] == "test"
    inventory.update(store, settings, ["redbreast"])
    done = refresh(store, settings, ["redbreast"])
    assert (len(done.tables["redbreast"]) > 0, done.extracted) == (True, 0)


def test_a_rename_that_was_interrupted_is_completed_by_asking_again(store: ObjectStore, settings: Settings) -> None:
    put(store, settings, "robin/a.wav", "robin/b.wav", "wren/c.wav")
    store.copy(settings.raw_bucket, "robin/a.wav", settings.raw_bucket, "redbreast/a.wav")
    labels.keep(store, settings, of_names(["robin", "wren"]).renamed("robin", "redbreast"))
    label_changes.rename(store, settings, "robin", "redbreast")
    assert audio_in(store, settings) == ["redbreast/a.wav", "redbreast/b.wav", "wren/c.wav"]
    assert labels.names(store, settings) == ("redbreast", "wren")


def test_a_rename_onto_files_that_are_there_moves_nothing(store: ObjectStore, settings: Settings) -> None:
    labels.keep(store, settings, of_names(["robin", "wren"]))
    put(store, settings, "robin/a.wav", "redbreast/a.wav", "wren/c.wav")
    with pytest.raises(BadInput, match=r"1 files are in redbreast/ already, such as redbreast/a\.wav"):
        label_changes.rename(store, settings, "robin", "redbreast")
    assert len(audio_in(store, settings)) == 3
    assert labels.names(store, settings) == ("robin", "wren")
