"""What the command line does with folders: uploading them, and extracting from them without any service."""

from pathlib import Path

import numpy as np
import pytest

from genre_assets.audio.extract_paths import extract_paths
from genre_assets.audio.find_audio import find_audio
from genre_assets.audio.groups import read
from genre_assets.audio.ingest import ingest
from genre_assets.audio.sources import Folder, Prefix, source_of
from genre_assets.errors import BadInput
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.labelled import TEN


def audio_in(store: ObjectStore, settings: Settings) -> list[str]:
    return [o.key for o in store.list(settings.raw_bucket) if o.key != "labels.yaml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, seed in (("rock/a.wav", 1), ("rock/live/b.wav", 2), ("pop/c.flac", 3)):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound_file(music(2, seed=seed), container="FLAC" if name.endswith("flac") else "WAV"))
    (tmp_path / "music" / "rock" / "cover.jpg").write_bytes(b"x")
    (tmp_path / "music" / "list.txt").write_bytes(b"x")
    (tmp_path / "music" / "polka").mkdir()
    (tmp_path / "music" / "polka" / "d.wav").write_bytes(b"x")
    return tmp_path / "music"


def test_a_folder_is_uploaded_once(folder: Path, store: ObjectStore, settings: Settings) -> None:
    seen: list[tuple[int, int]] = []
    first = ingest(
        Folder(folder), store=store, settings=settings, label_set=TEN, progress=lambda *step: seen.append(step)
    )
    assert (first.uploaded, first.unchanged) == (3, 0)
    assert first.left_out == {
        "list.txt": "1 file in no label's folder",
        "polka/": "1 file in a folder that is no label's",
        "rock/": "1 file without the ending of an audio file (.jpg)",
    }
    assert seen == [(1, 3), (2, 3), (3, 3)]
    again = ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    assert (again.uploaded, again.unchanged) == (0, 3)
    assert audio_in(store, settings) == ["pop/c.flac", "rock/a.wav", "rock/live/b.wav"]


def test_a_label_may_be_written_in_other_ways(folder: Path, store: ObjectStore, settings: Settings) -> None:
    for name in ("Hip-Hop", "hip_hop", "HIP HOP"):
        (folder / name).mkdir()
        (folder / name / f"{name}.wav").write_bytes(sound_file(music(1, seed=4)))
    (folder / "rock").rename(folder / "Rock")
    done = ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    assert audio_in(store, settings) == [
        "hiphop/HIP HOP.wav",
        "hiphop/Hip-Hop.wav",
        "hiphop/hip_hop.wav",
        "pop/c.flac",
        "rock/a.wav",
        "rock/live/b.wav",
    ]
    assert done.left_out["Rock/"] == "1 file without the ending of an audio file (.jpg)"
    assert done.left_out["polka/"] == "1 file in a folder that is no label's"


def test_two_files_that_would_have_one_key_are_named_and_nothing_is_sent(
    folder: Path, store: ObjectStore, settings: Settings
) -> None:
    (folder / "Pop").mkdir()
    (folder / "Pop" / "c.flac").write_bytes(b"another")
    with pytest.raises(BadInput, match=r"Pop/c.flac and .*pop/c.flac would both be pop/c.flac"):
        ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    assert audio_in(store, settings) == []


def test_a_limit_takes_the_same_files_of_each_genre_and_says_what_it_left(
    folder: Path, store: ObjectStore, settings: Settings
) -> None:
    for number in range(20):
        (folder / "rock" / f"{number}.wav").write_bytes(sound_file(music(0.1, seed=number)))
    chosen = [set(find_audio(Folder(folder), TEN, closed=True, limit=limit).files) for limit in (1, 5, 5, 30)]
    assert chosen[1] == chosen[2]
    assert chosen[0] < chosen[1] < chosen[3] == set(find_audio(Folder(folder), TEN, closed=True).files)
    assert [sum(key.startswith("rock/") for key in keys) for keys in chosen] == [1, 5, 5, 22]
    done = ingest(Folder(folder), store=store, settings=settings, label_set=TEN, limit=5)
    assert (done.uploaded, set(audio_in(store, settings))) == (6, chosen[1])
    assert done.left_out["rock/"] == ("17 files over the limit of 5; 1 file without the ending of an audio file (.jpg)")


def test_a_folder_may_say_labels_and_groups_itself(folder: Path, store: ObjectStore, settings: Settings) -> None:
    (folder / "data").mkdir()
    for name in ("x.wav", "y.wav", "z.wav"):
        (folder / "data" / name).write_bytes(sound_file(music(0.5, seed=ord(name[0]))))
    rows = ["data/x.wav,Jazz,Trio,", "./data/y.wav,hip-hop,,old", "data/z.wav,polka,,", "pop/c.flac,metal,Band,"]
    (folder / "metadata.csv").write_text("\n".join(["file_name,label,group,comment", *rows]))
    (folder / "groups.csv").write_text("key,group\nrock/a.wav,Band\nrock/live/b.wav,Band\nrock/gone.wav,Band\n")
    done = ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    assert audio_in(store, settings) == [
        "groups.csv",
        "hiphop/data/y.wav",
        "jazz/data/x.wav",
        "metal/pop/c.flac",
        "rock/a.wav",
        "rock/live/b.wav",
    ]
    assert done.left_out["data/"] == "1 file with the label polka, which is none of the label set"
    assert (done.uploaded, done.groups) == (5, 4)
    groups = {"jazz/data/x.wav": "Trio", "metal/pop/c.flac": "Band", "rock/a.wav": "Band", "rock/live/b.wav": "Band"}
    assert read(store, settings) == groups
    (folder / "groups.csv").write_text('key;group\nrock/a.wav;"Another, Band"\n')
    assert ingest(Folder(folder), store=store, settings=settings, label_set=TEN).groups == 1
    assert read(store, settings) == groups | {"rock/a.wav": "Another, Band"}


@pytest.fixture
def elsewhere(folder: Path, store: ObjectStore, settings: Settings) -> Prefix:
    """The folder's files below a prefix of another bucket."""
    bucket = f"{settings.raw_bucket}-elsewhere"
    store.ensure_buckets(bucket)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.upload_file(bucket, f"old/music/{path.relative_to(folder).as_posix()}", path)
    store.put_bytes(bucket, "old/musicians.txt", b"not below it")
    return Prefix(store, bucket, "old/music")


def test_a_prefix_of_another_bucket_is_taken_as_a_folder_is(
    folder: Path, elsewhere: Prefix, store: ObjectStore, settings: Settings
) -> None:
    (folder / "metadata.csv").write_text("file_name,label,group\npolka/d.wav,disco,Band\n")
    store.put_bytes(elsewhere.bucket, "old/music/metadata.csv", (folder / "metadata.csv").read_bytes())
    assert find_audio(elsewhere, TEN, closed=True) == find_audio(Folder(folder), TEN, closed=True)
    source = source_of(f"s3://{elsewhere.bucket}/old/music/", store, settings)
    first = ingest(source, store=store, settings=settings, label_set=TEN)
    assert (first.uploaded, first.groups) == (4, 1)
    assert store.get_bytes(settings.raw_bucket, "rock/a.wav") == (folder / "rock" / "a.wav").read_bytes()
    for again in (Prefix(store, elsewhere.bucket, "old/music"), Folder(folder)):
        assert ingest(again, store=store, settings=settings, label_set=TEN).unchanged == 4
    store.put_bytes(elsewhere.bucket, "old/music/rock/a.wav", b"another")
    changed = ingest(Prefix(store, elsewhere.bucket, "old/music"), store=store, settings=settings, label_set=TEN)
    assert (changed.uploaded, store.get_bytes(settings.raw_bucket, "rock/a.wav")) == (1, b"another")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://", "not an S3 address"),
        ("s3://no-such-bucket/music", "there is no bucket no-such-bucket"),
        ("s3://{elsewhere}/new", "nothing is below s3://"),
        ("s3://{raw}/old", "is in the raw bucket already"),
    ],
)
def test_an_address_that_cannot_be_taken_from_is_refused(
    elsewhere: Prefix, store: ObjectStore, settings: Settings, place: str, said: str
) -> None:
    written = place.format(elsewhere=elsewhere.bucket, raw=settings.raw_bucket)
    with pytest.raises(BadInput, match=said):
        ingest(source_of(written, store, settings), store=store, settings=settings)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("file_name,label\nrock/a.wav,rock\nno.wav,pop\n", "lists 1 files that are not there: no.wav"),
        ("file_name,label\nrock/a.wav,rock\n../a.wav,pop\n", "lists 1 files that are not there"),
        ("file_name,label\nrock/a.wav,rock\nrock/a.wav,pop\n", "line 3: rock/a.wav is there twice, with two labels"),
        ("file_name,genre\nrock/a.wav,rock\n", "metadata.csv: the columns label are missing"),
    ],
)
def test_metadata_that_is_wrong_is_named_and_nothing_is_sent(
    folder: Path, store: ObjectStore, settings: Settings, written: str, said: str
) -> None:
    (folder / "metadata.csv").write_text(written)
    with pytest.raises(BadInput, match=said):
        ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    assert list(store.list(settings.raw_bucket)) == []


def test_a_file_that_changed_is_sent_again_even_at_the_same_size(
    folder: Path, store: ObjectStore, settings: Settings
) -> None:
    ingest(Folder(folder), store=store, settings=settings, label_set=TEN)
    path = folder / "rock" / "a.wav"
    changed = bytearray(path.read_bytes())
    changed[-10] ^= 1
    path.write_bytes(changed)
    assert ingest(Folder(folder), store=store, settings=settings, label_set=TEN).uploaded == 1
    assert store.get_bytes(settings.raw_bucket, "rock/a.wav") == bytes(changed)


def test_a_folder_that_cannot_be_used_is_refused_with_what_to_do(
    tmp_path: Path, store: ObjectStore, settings: Settings
) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        ingest(Folder(tmp_path / "nowhere"), store=store, settings=settings)
    with pytest.raises(BadInput, match=r"no audio in a folder that names its label, and no metadata\.csv"):
        ingest(Folder(tmp_path), store=store, settings=settings)
    (tmp_path / "rock").mkdir()
    with pytest.raises(BadInput, match="no audio"):
        ingest(Folder(tmp_path), store=store, settings=settings)


@pytest.mark.parametrize("few", [4, 0], ids=["here", "in processes"])
def test_features_come_in_the_order_of_the_files_with_bad_ones_in_their_place(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("genre_assets.audio.extract_paths.FEW", few)
    told: list[tuple[int, int]] = []
    frame = extract_paths(
        [folder / "pop", folder / "polka", folder / "rock"],
        feature_set="gtzan37",
        settings=settings,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(n, 4) for n in (1, 2, 3, 4)]
    assert [Path(path).name for path in frame["path"]] == ["c.flac", "d.wav", "a.wav", "b.wav"]
    assert frame["error"].str.contains("undecodable").tolist() == [False, True, False, False]
    assert np.isfinite(frame.loc[frame["error"] == "", "rms_mean_0"]).all()


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(BadInput, match="there is no file"):
        extract_paths([tmp_path / "nowhere.wav"], feature_set="gtzan37", settings=settings)
    with pytest.raises(BadInput, match="no audio in"):
        extract_paths([tmp_path], feature_set="gtzan37", settings=settings)
    with pytest.raises(BadInput, match="no feature set 'x'"):
        extract_paths([tmp_path], feature_set="x", settings=settings)
