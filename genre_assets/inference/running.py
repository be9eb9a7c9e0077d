"""Does a step run what its release names? Looked at when Triton loads it: a server that starts verifies no release.

Features of another version, and numpy 2, are refused where they are used (`features.FeatureMaker`, `answers.check_numpy`).
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from genre_assets.errors import PermanentFailure
from genre_assets.triton.protocol import named, step_of

log = logging.getLogger(__name__)
FACTS_FILE = "genre-environment.json"  # as the environment says of itself what it is
RUNNING = Path(os.__file__).parents[2]  # the environment of this process: <it>/lib/python3.x/os.py


def check_release(model: str, given: Mapping[str, str], environment: Path = RUNNING) -> bool | None:
    """Whether the environment that runs is the one that the release names; None if it does not say which it is.

    Another one is told in the log, and works on: what it must have is asked for where it is used. `given` are the parameters
    of the model's configuration.

    Raises
    ------
    PermanentFailure
        If the model's name and its configuration are of two contracts: its neighbours would not understand it.
    """
    contract, step = given.get("contract", ""), step_of(model) or model
    if contract and model != named(step, contract):
        raise PermanentFailure(
            f"{model} has the configuration of a step of contract {contract}: its folder was put together from two releases. "
            "Move the release's folder away and promote again: it is fetched anew"
        )
    found, wanted = _hash_of(environment), given.get("environment", "")
    if found is None or not wanted:
        log.info("%s: which environment runs is unknown (%s has no %s)", model, environment, FACTS_FILE)
        return None
    if found != wanted:
        log.warning(
            "%s runs in the environment %s, and its release names %s: genre-assets doctor says what to do",
            model,
            found,
            wanted,
        )
    return found == wanted


def _hash_of(environment: Path) -> str | None:
    """As `packaging.environment.lock.Lock.hash`, which is not shipped."""
    try:
        lock = json.loads((environment / FACTS_FILE).read_text())["lock"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return hashlib.sha256(json.dumps(lock, sort_keys=True).encode()).hexdigest()[:16]
