"""What a build depends on and what it makes, as short facts: equal facts, and another build would find nothing to do.

Listings name objects by key, size and ETag; nothing is read that a listing names. What no fact sees (a file inside an
unpacked environment, say) is for `genre-assets run --force`.
"""

import hashlib
import json
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

from genre_assets import keys, labels
from genre_assets.errors import TransientFailure
from genre_assets.packaging.code import PACKAGE, ROOT, SOURCES
from genre_assets.packaging.environment.lock import DEFINITION
from genre_assets.runs import settings_digest
from genre_assets.settings import Settings
from genre_assets.stack import skew
from genre_assets.stack.services import graphql
from genre_assets.store import ObjectStore

Facts = Mapping[str, str]


@dataclass(frozen=True)
class State:
    """What a build reads, and what it leaves."""

    read: Facts
    left: Facts

    def changed_since(self, other: "State") -> list[str]:
        """The names of the facts that differ, in their order."""
        now, then = {**self.read, **self.left}, {**other.read, **other.left}
        return [name for name in dict.fromkeys([*now, *then]) if now.get(name) != then.get(name)]


def state(settings: Settings, store: ObjectStore) -> State:
    """As all is now. Raises what the services' clients raise: what cannot be known is not taken for unchanged."""
    with ThreadPoolExecutor(4) as pool:
        read, left = (
            {name: pool.submit(find) for name, find in finders.items()}
            for finders in (_read_by_a_build(settings, store), _left_by_a_build(settings, store))
        )
        return State(*({name: found.result() for name, found in facts.items()} for facts in (read, left)))


def _read_by_a_build(settings: Settings, store: ObjectStore) -> Mapping[str, Callable[[], str]]:
    return {
        "code": _code,
        "settings": partial(_settings_of_runs, settings),
        "labels": lambda: labels.read(store, settings).to_yaml(),
        # The set of labels is known above: the first build writes it down as its own, which changes nothing.
        "audio": lambda: _listed(store, settings.raw_bucket, but=(keys.LABEL_SET,)),
        "decisions on files": lambda: _listed(store, settings.features_bucket, keys.DECISIONS),
        "ready tables": lambda: _listed(store, settings.features_bucket, keys.READY),
    }


def _left_by_a_build(settings: Settings, store: ObjectStore) -> Mapping[str, Callable[[], str]]:
    made_elsewhere = (keys.DECISIONS, keys.READY, keys.DROPPED)
    return {
        "tables": lambda: _listed(store, settings.features_bucket, but=made_elsewhere),
        "models": partial(_registry, settings),
        "models' files": lambda: _listed(store, settings.mlflow_bucket),
        "environments": lambda: _listed(store, settings.serving_bucket, keys.ENVIRONMENTS),
        "releases": lambda: _listed(store, settings.serving_bucket, keys.RELEASES, but=(keys.WANTED_RELEASE,)),
        "references": lambda: _listed(store, settings.serving_bucket, keys.REFERENCES),
        "assets in Dagster": partial(_pages, settings),
        "versions": lambda: "\n".join(found.seen for found in skew.find(settings)),
    }


def _code() -> str:
    """Of the platform's files, the models' sources, and the distributions that are installed."""
    known = hashlib.sha256()
    for path in _files():
        known.update(f"{path}\0".encode())
        known.update(path.read_bytes())
    for installed in sorted(path.name for path in Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info")):
        known.update(installed.encode())
    return known.hexdigest()


def _files() -> Iterator[Path]:
    for folder in (ROOT / PACKAGE, SOURCES, DEFINITION):
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _settings_of_runs(settings: Settings) -> str:
    return graphql.metadata_of_job(settings.dagster_url, "build").get(settings_digest.IN_METADATA, "")


def _listed(store: ObjectStore, bucket: str, prefix: str = "", but: tuple[str, ...] = ()) -> str:
    """Of every object under a prefix, but those under others."""
    known = hashlib.sha256()
    for found in store.list(bucket, prefix):
        if not (but and found.key.startswith(but)):
            known.update(f"{found.key}\0{found.size}\0{found.etag}\n".encode())
    return known.hexdigest()


def _registry(settings: Settings) -> str:
    """The registry's versions and aliases, as MLflow's REST interface tells them: its library takes seconds to import."""
    models = _mlflow(settings, "registered-models/search?max_results=1000")
    versions = _mlflow(settings, "model-versions/search?max_results=10000")
    return hashlib.sha256(json.dumps([models, versions], sort_keys=True).encode()).hexdigest()


def _mlflow(settings: Settings, question: str) -> object:
    address = f"{settings.mlflow_url}/api/2.0/mlflow/{question}"
    try:
        with urlopen(Request(address), timeout=20) as answer:  # noqa: S310  # our own setting
            return json.loads(answer.read())
    except (OSError, ValueError) as error:
        raise TransientFailure(f"MLflow does not answer at {address} ({error}); try: genre-assets status") from error


def _pages(settings: Settings) -> str:
    """Which assets of the build Dagster has no materialisation of; of partitions, how many have one."""
    return json.dumps(graphql.materialised(settings.dagster_url, "build"), sort_keys=True)
