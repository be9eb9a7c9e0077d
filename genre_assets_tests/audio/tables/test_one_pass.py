"""A new file is read, hashed and decoded once, for its row of the inventory and for its features."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest

from genre_assets.audio import assets, extract
from genre_assets.audio.decoding import decode as decoding
from genre_assets.audio.tables import features, inspect_file, inventory
from genre_assets.audio.tables.refresh import refresh
from genre_assets.audio.tables.rows import KeptRows, Made, NoFeatures
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.audio.arrivals.test_materialisations import Platform
from genre_assets_tests.audio.sounds import music, sound_file
from genre_assets_tests.faults.proxy import FaultProxy
from genre_assets_tests.labelled import add_ten, keep_ten

FILES = {f"rock/{seed}.flac": sound_file(music(3, seed=seed), container="FLAC") for seed in range(3)}


@pytest.fixture
def proxy(s3_server: str) -> Iterator[FaultProxy]:
    """Between the platform and its object store."""
    address = urlsplit(s3_server)
    with FaultProxy((str(address.hostname), address.port or 0)) as made:
        yield made


@pytest.fixture
def platform(
    store: ObjectStore, settings: Settings, resources: dict[str, Any], proxy: FaultProxy
) -> Iterator[Platform]:
    """Files in a bucket that nobody has looked at; the workers read it through the proxy."""
    through = settings.model_copy(update={"s3_endpoint_url": proxy.url})
    given = {**resources, "settings": dg.ResourceDefinition.hardcoded_resource(through)}
    keep_ten(store, settings)
    with dg.DagsterInstance.ephemeral() as instance:
        made = Platform(add_ten(instance), through, store, given)
        for key, data in FILES.items():
            made.put(key, data)
        yield made


def reads(proxy: FaultProxy, bucket: str) -> Counter[str]:
    """How often each object of a bucket was read."""
    found = [target.partition("?")[0] for method, target in proxy.requests if method == "GET"]
    return Counter(path.removeprefix(f"/{bucket}/") for path in found if path.startswith(f"/{bucket}/"))


def test_the_job_reads_a_new_object_once(platform: Platform, proxy: FaultProxy) -> None:
    platform.ingest("rock")
    assert reads(proxy, platform.settings.raw_bucket) == dict.fromkeys(FILES, 1)
    assert platform.page("raw_audio", "rock")["usable"] == len(FILES)
    assert sorted(set(features.read(platform.store, platform.settings, "rock")["key"])) == sorted(FILES)


def test_the_job_decodes_and_hashes_a_new_object_once(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded, hashed = (
        counted(monkeypatch, "decode", decoding),
        counted(monkeypatch, "fingerprint_of", extract, inspect_file),
    )
    monkeypatch.setattr(assets, "map_files", here)
    platform.ingest("rock")
    assert (len(decoded), len(hashed)) == (len(FILES), len(FILES))


@pytest.fixture
def rock_and_pop(store: ObjectStore, settings: Settings, ten_genres: None) -> None:
    """Looked at; no features asset was asked for."""
    for key, data in {**FILES, "pop/a.flac": sound_file(music(3, seed=7), container="FLAC")}.items():
        store.put_bytes(settings.raw_bucket, key, data)
    done = inventory.update(store, settings, ["rock", "pop"], map_tasks=here)
    assert (done.inspected, done.extracted) == (4, 4)


@pytest.mark.usefixtures("rock_and_pop")
def test_rows_wait_for_the_table_of_their_label(store: ObjectStore, settings: Settings) -> None:
    done = refresh(store, settings, ["rock"], map_tasks=nowhere)
    assert (done.extracted, done.before, len(done.tables["rock"])) == (3, 3, 3)
    assert {name for name, _ in done.slowest} == set(FILES)
    done = refresh(store, settings, ["pop"], map_tasks=nowhere)
    assert (done.extracted, done.before, len(done.tables["pop"])) == (1, 1, 1)
    assert list(store.list(settings.features_bucket, "checkpoints/")) == []


@pytest.mark.usefixtures("rock_and_pop")
@pytest.mark.parametrize("how", ["lost", "damaged", "of another feature set"])
def test_features_computes_what_is_missing(store: ObjectStore, settings: Settings, how: str) -> None:
    for entry in list(store.list(settings.features_bucket, "checkpoints/")):
        if how == "lost":
            store.delete(settings.features_bucket, entry.key)
        elif how == "damaged":
            store.put_bytes(settings.features_bucket, entry.key, b"PAR1 cut off")
    if how == "of another feature set":
        settings = settings.model_copy(update={"feature_set": "default"})
    done = refresh(store, settings, ["rock"], map_tasks=here)
    assert (done.extracted, done.before, len(done.tables["rock"])) == (3, 0, 3)


@pytest.mark.usefixtures("rock_and_pop")
def test_a_content_that_has_features_is_looked_at_without_them(store: ObjectStore, settings: Settings) -> None:
    refresh(store, settings, ["rock", "pop"], map_tasks=nowhere)
    store.copy(settings.raw_bucket, "rock/0.flac", settings.raw_bucket, "rock/moved.flac")
    store.delete(settings.raw_bucket, "rock/0.flac")
    done = inventory.update(store, settings, ["rock"], map_tasks=here)
    assert (done.inspected, done.extracted) == (1, 0)
    assert refresh(store, settings, ["rock"], map_tasks=nowhere).extracted == 0
    other = settings.model_copy(update={"min_seconds": 0.5, "segment_seconds": 2.0})
    done = inventory.update(store, other, ["rock"], map_tasks=here)
    assert (done.inspected, done.extracted) == (3, 3), "cut in another way, they have none"


def test_a_file_that_gives_no_features_is_remembered(store: ObjectStore, settings: Settings) -> None:
    made = Made("f", "rock/a.wav", NoFeatures("its features are not finite"), 0.5)
    kept = KeptRows(store, settings, "a method")
    kept.add(made)
    kept.save()
    assert KeptRows(store, settings, "a method").read() == [made]
    assert KeptRows(store, settings, "another").read() == []


def nowhere(function: object, tasks: Sequence[Any], *, settings: Settings) -> Iterator[tuple[Any, Any]]:
    """For what must not be computed."""
    assert not tasks
    return iter(())


def counted(patch: pytest.MonkeyPatch, name: str, *modules: Any) -> list[object]:
    """What a function is called with from now on, by whoever knows it in these modules."""
    calls: list[object] = []
    real: Callable[..., Any] = getattr(modules[0], name)

    def called(source: Any, *more: Any, **options: Any) -> Any:
        calls.append(source)
        return real(source, *more, **options)

    for module in modules:
        patch.setattr(module, name, called)
    return calls


def here(function: Callable[..., Any], tasks: Iterable[Any], *, settings: Settings) -> Iterator[tuple[Any, Any]]:
    """Without worker processes, whose calls could not be counted."""
    from genre_assets.store import s3_client

    store = ObjectStore(s3_client(settings))
    return ((task, function(store, task)) for task in tasks)
