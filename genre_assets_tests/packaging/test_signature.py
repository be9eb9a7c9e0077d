"""Releases and environments are loaded only if they are signed by an accepted key, exactly as they are."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genre_assets import audit, keys
from genre_assets.database import Database
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.packaging import publish, signature
from genre_assets.packaging.adoption import adopt
from genre_assets.packaging.environment import conda
from genre_assets.packaging.release import Release
from genre_assets.settings import Settings
from genre_assets.store import ObjectStore
from genre_assets_tests.checks.serving_cases import SPEC
from genre_assets_tests.serving.live_stack import LiveStack
from genre_assets_tests.serving.rollout.test_live import of_predictor
from genre_assets_tests.serving.toys import clip, toy_model

RELEASE = Release("r1", "today", "0abc", SPEC, {}, {"predictor": "c"}, {"models/a": "0" * 64}, [])


@pytest.fixture
def ours(s3_settings: Settings) -> Settings:
    """Settings of an installation that signs."""
    return s3_settings.model_copy(update={"release_key": type(s3_settings.s3_secret_key)("a secret of ours")})


def other(settings: Settings) -> Settings:
    return settings.model_copy(update={"release_key": type(settings.release_key)("another secret")})


def test_who_has_the_public_key_verifies_and_cannot_sign(ours: Settings, store: ObjectStore) -> None:
    publish.write_manifest(ours, store, RELEASE)
    public = signature.own_public_key(ours)
    assert public is not None
    agents = ours.model_copy(update={"release_key": type(ours.release_key)(""), "release_public_keys": (public,)})
    assert publish.verify(agents, store, "r1") == (RELEASE, signature.fingerprint(public))
    assert signature.sign(agents, b"x") is None
    command = [sys.executable, "-m", "genre_assets.packaging.signature"]
    environment = {"GENRE_RELEASE_KEY": "a secret of ours", "PATH": ""}
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert printed.stdout.strip() == public


def test_a_former_key_is_accepted_while_it_is_named(ours: Settings, store: ObjectStore) -> None:
    publish.write_manifest(ours, store, RELEASE)
    former = signature.own_public_key(ours)
    assert former is not None
    replaced = other(ours)
    with pytest.raises(PermanentFailure, match=r"signed by another key .*accepted: .*GENRE_RELEASE_PUBLIC_KEYS"):
        publish.verify(replaced, store, "r1")
    publish.verify(replaced.model_copy(update={"release_public_keys": (former,)}), store, "r1")
    with pytest.raises(BadInput, match="is no public key"):
        publish.verify(replaced.model_copy(update={"release_public_keys": ("nonsense",)}), store, "r1")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (None, "has no signature"),
        (b"{}", "cannot be read"),
        (b"no JSON", "cannot be read"),
        (b'["key"]', "cannot be read"),
    ],
)
def test_a_signature_that_is_none_is_told(ours: Settings, store: ObjectStore, damage: bytes | None, said: str) -> None:
    publish.write_manifest(ours, store, RELEASE)
    key = keys.release_signature("r1")
    store.delete(ours.serving_bucket, key) if damage is None else store.put_bytes(ours.serving_bucket, key, damage)
    with pytest.raises(PermanentFailure, match=f"release r1 {said}|release r1.*{said}"):
        publish.verify(ours, store, "r1")
    assert not publish.is_accepted(ours, store, RELEASE), "the build job publishes it anew"


def test_where_no_key_is_stated_nothing_is_signed_and_nothing_is_asked_for(
    s3_settings: Settings, store: ObjectStore
) -> None:
    publish.write_manifest(s3_settings, store, RELEASE)
    assert not store.exists(s3_settings.serving_bucket, keys.release_signature("r1"))
    assert publish.verify(s3_settings, store, "r1") == (RELEASE, "")


def test_releases_of_before_are_signed_once_with_a_notice(
    ours: Settings, store: ObjectStore, database: Database
) -> None:
    unkeyed = ours.model_copy(update={"release_key": type(ours.release_key)("")})
    publish.write_manifest(unkeyed, store, RELEASE)
    archive = keys.environment(RELEASE.environment)
    store.put_bytes(ours.serving_bucket, archive, b"an archive")
    assert adopt(unkeyed, store, database) == []
    assert adopt(ours, store, database) == ["r1"]
    publish.verify(ours, store, "r1")
    assert store.exists(ours.serving_bucket, keys.environment_signature(RELEASE.environment))
    (notice,) = audit.history(database, subject="release")
    assert (notice.moved_to, notice.actor) == ("r1", "upgrade")
    for later in (ours, other(ours)):  # nor for a key that replaced the first
        store.delete(ours.serving_bucket, keys.release_signature("r1"))
        assert adopt(later, store, database) == []
        with pytest.raises(PermanentFailure, match="has no signature"):
            publish.verify(later, store, "r1")
    assert len(audit.history(database, subject="release")) == 1


def test_an_environment_that_was_changed_is_not_unpacked(ours: Settings, store: ObjectStore, tmp_path: Path) -> None:
    settings = ours.model_copy(update={"home": tmp_path})
    archive = tmp_path / "made"
    archive.write_bytes(b"an archive")
    conda.write_signature(settings, store, "0abc", archive)
    store.put_bytes(ours.serving_bucket, keys.environment("0abc"), b"another archive")
    with pytest.raises(PermanentFailure, match="archive of environment 0abc was changed after it was signed"):
        conda.fetch(settings, store, "0abc")
    assert [path.name for path in (tmp_path / "environments").iterdir() if not path.name.startswith(".")] == []
    store.upload_file(ours.serving_bucket, keys.environment("0abc"), archive)
    with pytest.raises(PermanentFailure, match="cannot be unpacked"):  # signed, and taken
        conda.fetch(settings, store, "0abc")


@pytest.fixture
def next_release(live: LiveStack, tmp_path: Path) -> Iterator[Release]:
    """A published release that does not serve yet; the first one serves before and after the test."""
    _first_serves(live)
    model = toy_model(tmp_path / "m31", version=31, family="k_neighbors", seed=31)
    yield live.build({**live.models, 31: model}, {"champion": 31, "fallback": 4}, f"signed-{tmp_path.name}")
    _first_serves(live)


def _first_serves(live: LiveStack) -> None:
    live.store.write_json(live.settings.serving_bucket, keys.CURRENT_RELEASE, {"id": live.releases[0].id})
    live.serve("champion")


def test_what_is_not_as_it_was_signed_is_refused_and_the_old_release_goes_on(
    live: LiveStack, next_release: Release
) -> None:
    bucket, name = live.settings.serving_bucket, next_release.id
    for said in ("was changed after it was signed", "is signed by another key", "has no signature"):
        if said == "was changed after it was signed":
            changed = {
                **next_release.to_json(),
                "files": {**next_release.files, of_predictor(next_release, "31/model.onnx"): "0" * 64},
            }
            live.store.write_json(bucket, keys.release(name), changed)
        elif said == "is signed by another key":
            publish.write_manifest(other(live.settings), live.store, next_release)
        else:
            live.store.delete(bucket, keys.release_signature(name))
        with pytest.raises(PermanentFailure, match=f"release {name} {said}"):
            live.serve("champion")
        assert live.repository.release == live.releases[0].id
        assert live.client.predict([clip(1)], log=False)[0].version == 3
    publish.write_manifest(live.settings, live.store, next_release)
    assert live.serve("champion").release == next_release


def test_a_configuration_that_was_changed_on_disk_is_not_loaded(live: LiveStack) -> None:
    _first_serves(live)
    config = live.repository.model("predictor") / "config.pbtxt"
    before = config.read_text()
    config.write_text(before.replace("EXECUTION_ENV_PATH", "ANOTHER_PATH"))
    try:
        with pytest.raises(PermanentFailure, match=r"predictor_[0-9a-f]{8}/config.pbtxt is missing or damaged"):
            live.serve("fallback")
    finally:
        config.write_text(before)
    assert live.control.route() == "champion"
    live.serve("fallback")
    _first_serves(live)
