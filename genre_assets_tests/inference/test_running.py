"""A step knows the environment that it runs in, and the contract that it was built for, by what is written there."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from genre_assets.errors import PermanentFailure
from genre_assets.inference.running import FACTS_FILE, check_release
from genre_assets.packaging.environment import lock as locks


def test_the_environment_is_known_by_what_it_says_of_itself(tmp_path: Path) -> None:
    lock = locks.local_lock()
    assert check_release("predictor", {"environment": lock.hash}, tmp_path) is None
    (tmp_path / FACTS_FILE).write_text(json.dumps({"lock": asdict(lock)}))
    assert locks.READY == FACTS_FILE
    assert check_release("predictor", {"environment": lock.hash}, tmp_path) is True
    assert check_release("predictor", {"environment": "another"}, tmp_path) is False


def test_a_step_of_another_contract_than_its_name_says_is_refused(tmp_path: Path) -> None:
    assert check_release("predictor_0123abcd", {"contract": "0123abcd"}, tmp_path) is None
    assert check_release("predictor", {}, tmp_path) is None  # of a release that names none
    with pytest.raises(
        PermanentFailure, match=r"predictor_0123abcd has the configuration of a step of contract 4567abcd"
    ):
        check_release("predictor_0123abcd", {"contract": "4567abcd"}, tmp_path)
