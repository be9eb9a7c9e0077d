"""Seals between the steps of the ensemble: what is changed, moved, old or not signed at all is refused."""

import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.inference.seal import Seals, Unsealed

FEATURES = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
VALUES = [b'{"a": 1}', b"line\nline"]


@pytest.fixture
def seals(tmp_path: Path) -> Seals:
    return Seals(tmp_path / "triton" / "facts.key")


def test_what_was_sealed_is_opened_by_whoever_has_the_key(seals: Seals) -> None:
    sealed = seals.seal("facts", "id\ud800", VALUES, [FEATURES])
    assert Seals(seals.file).opened("facts", "id\ud800", sealed, [FEATURES]) == VALUES


def test_anything_changed_is_refused(seals: Seals, tmp_path: Path) -> None:
    first, second = seals.seal("facts", "id", VALUES, [FEATURES])
    for kind, request_id, sealed, tensors in (
        ("served", "id", [first, second], [FEATURES]),
        ("facts", "id2", [first, second], [FEATURES]),
        ("facts", "id", [second, first], [FEATURES]),
        ("facts", "id", [first], [FEATURES]),
        ("facts", "id", [first, second + b" "], [FEATURES]),
        ("facts", "id", [first, b"1 x\n" + VALUES[1]], [FEATURES]),
        ("facts", "id", [first, second], [FEATURES.reshape(1, 4)]),
        ("facts", "id", [first, second], [FEATURES, FEATURES]),
        ("facts", "id", [first, second], [np.nan_to_num(FEATURES)]),
        ("facts", "id", VALUES, [FEATURES]),
        ("facts", "id", [b"", b""], [FEATURES]),
        ("facts", "id", [b"1 \xff\n", b"1 \xff\n"], [FEATURES]),
        ("facts", "id", [b"9" * 5000 + b" x\n"], [FEATURES]),
        ("facts", "id", [], [FEATURES]),
    ):
        with pytest.raises(Unsealed):
            seals.opened(kind, request_id, sealed, tensors)  # type: ignore[arg-type]
    with pytest.raises(Unsealed):
        Seals(tmp_path / "other.key").opened("facts", "id", [first, second], [FEATURES])


def test_a_seal_holds_for_five_minutes(seals: Seals, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("genre_assets.inference.seal.time.time", lambda: now)
    sealed = seals.seal("facts", "id", VALUES, [FEATURES])
    now += 299
    assert seals.opened("facts", "id", sealed, [FEATURES]) == VALUES
    now += 2
    with pytest.raises(Unsealed):
        seals.opened("facts", "id", sealed, [FEATURES])


def test_processes_that_start_at_once_agree_on_one_key_that_only_the_owner_reads(tmp_path: Path) -> None:
    file, gate, made = tmp_path / "home" / "triton" / "facts.key", threading.Barrier(16), []

    def start() -> None:
        gate.wait()
        made.append(Seals(file).seal("facts", "id", VALUES, [FEATURES]))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 16
    assert all(Seals(file).opened("facts", "id", sealed, [FEATURES]) == VALUES for sealed in made)
    assert [p.name for p in file.parent.iterdir()] == ["facts.key"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_key_that_is_removed_while_all_run_is_made_anew_and_a_damaged_one_is_named(seals: Seals) -> None:
    other = Seals(seals.file)
    seals.file.unlink()
    assert other.opened("facts", "id", seals.seal("facts", "id", VALUES, [FEATURES]), [FEATURES]) == VALUES
    seals.file.write_bytes(b"short")
    with pytest.raises(PermanentFailure, match="no key of 32 bytes"):
        seals.seal("facts", "id", VALUES, [FEATURES])
