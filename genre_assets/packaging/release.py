"""A release: a complete Triton repository made from registry models, with golden clips and a manifest.

Building is deterministic: the same models, code, environment and settings give the same id, whatever the time. What a
release holds is listed with hashes in `release.json`, written last.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genre_assets.disk.whole import write_whole
from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.models.onnx.portable import ModelManifest, read_manifest
from genre_assets.packaging import golden
from genre_assets.packaging.code import model_files
from genre_assets.packaging.config import ModelConfig, from_pbtxt, to_pbtxt
from genre_assets.packaging.ensemble import LABELS_FILE, EnsembleSpec, configurations, with_route
from genre_assets.packaging.environment.lock import Environment
from genre_assets.packaging.model_repository import model_folder
from genre_assets.settings import Settings
from genre_assets.triton import binary
from genre_assets.triton import protocol as p

CONTENT = "content"  # parameter of each configuration: hash of what the model is, whoever serves now
STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Release:
    """What `release.json` says."""

    id: str
    created: str
    environment: str  # lock hash
    spec: EnsembleSpec
    versions: dict[str, dict[str, Any]]  # registry version -> model manifest
    contents: dict[str, str]  # model name -> content hash
    files: dict[str, str]  # path under models/ and golden/ -> sha256
    golden: list[dict[str, Any]] = field(default_factory=list)  # clip, version -> offline answer

    @property
    def roles(self) -> dict[str, int]:
        """Route -> registry version."""
        roles = {"champion": self.spec.champion, "fallback": self.spec.fallback}
        return {route: version for route, version in roles.items() if version is not None}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Release":
        """From `to_json`'s value. Raises `BadInput`."""
        try:
            spec = EnsembleSpec(**{**value["spec"], "labels": tuple(value["spec"]["labels"])})
            return cls(**{**value, "spec": spec})
        except (KeyError, TypeError) as error:
            raise BadInput(f"this is not a release manifest: {error}") from error


def build(
    folder: Path, settings: Settings, environment: Environment, models: Mapping[int, Path], roles: Mapping[str, int]
) -> Release:
    """Write a complete release into `folder` (new).

    Parameters
    ----------
    models : registry version -> folder of the portable model.
    roles : route -> registry version; `champion` must be there.

    Raises
    ------
    BadInput
        If a model cannot be served beside the champion.
    """
    manifests = {version: read_manifest(path) for version, path in models.items()}
    spec = specify(settings, environment, manifests, roles)
    shutil.rmtree(folder, ignore_errors=True)
    models_folder = folder / "models"
    configs = configurations(spec, contract_of(configurations(spec)))
    contents = {}
    for name, config in configs.items():
        target = models_folder / name
        if p.step_of(name) == p.PREDICTOR:
            for version, source in models.items():
                _write_version(target / str(version), name)
                shutil.copytree(source, target / str(version), dirs_exist_ok=True)
        else:
            _write_version(target / "1", name)
        if name != p.ENSEMBLE:
            shutil.copy2(binary.stub(environment.minor), target / STUB)
        (target / LABELS_FILE).write_text("".join(f"{label}\n" for label in spec.labels))
        contents[name] = _content(target, config)
        (target / "config.pbtxt").write_text(to_pbtxt(with_content(config, contents[name])))
    answers = write_golden(folder / "golden", models, spec)
    identity = json.dumps([contents, asdict(spec), environment.lock.hash], sort_keys=True)
    release = Release(
        hashlib.sha256(identity.encode()).hexdigest()[:16], datetime.now(UTC).isoformat(timespec="seconds"),
        environment.lock.hash, spec, {str(v): json.loads(m.to_json()) for v, m in manifests.items()},
        contents, _hashes(folder), answers,
    )  # fmt: skip
    (folder / "release.json").write_text(json.dumps(release.to_json(), indent=1, sort_keys=True))
    return release


def specify(
    settings: Settings, environment: Environment, manifests: Mapping[int, ModelManifest], roles: Mapping[str, int]
) -> EnsembleSpec:
    """What the models ask of the ensemble, and its size by the settings. Raises `BadInput` if two do not fit one ensemble.

    How audio is cut follows the champion's manifest: it may be older than today's settings.
    """
    champion = manifests[roles["champion"]]
    for version, manifest in manifests.items():
        for name in manifest.differs(champion):
            raise BadInput(
                f"model version {version} has other {name} than the champion (version {roles['champion']}): one ensemble "
                "cannot serve both. Run the retrain job, so that both are trained on the present features"
            )
    cut = champion.known_cut
    return EnsembleSpec(
        labels=champion.labels, feature_set=champion.feature_set, feature_set_version=champion.feature_set_version,
        columns=len(champion.columns), segments=cut.segments, max_seconds=cut.max_seconds,
        segment_seconds=cut.segment_seconds, offset=cut.offset, min_seconds=cut.min_seconds,
        champion=roles["champion"], fallback=roles.get("fallback"), environment=environment.lock.hash,
        max_batch=settings.serving_max_batch, extractors=settings.extractors,
    )  # fmt: skip


def write_golden(folder: Path, models: Mapping[int, Path], spec: EnsembleSpec) -> list[dict[str, Any]]:
    """Write the clips; returns every version's offline answers to them."""
    folder.mkdir(parents=True)
    clips = golden.clips()
    for name, data in clips.items():
        (folder / name).write_bytes(data)
    return [
        {"clip": clip, "version": version, **asdict(given)}
        for version, source in models.items()
        for clip, given in zip(clips, golden.expected(list(clips.values()), source, spec), strict=True)
    ]


def contract_of(configs: Mapping[str, ModelConfig]) -> str:
    """Hash of all in which the steps of an ensemble must agree: tensors, labels, features, cut, environment, and our code.

    That is everything but the trained models and who of them serves. A release of the same contract may replace steps of
    another one by one; one of another contract has steps of its own. `configs` are those without a contract.
    """
    digest = hashlib.sha256()
    for name, config in sorted(configs.items()):
        parameters = {k: v for k, v in config.parameters.items() if k not in {"route", *p.ROUTES}}
        digest.update(to_pbtxt(replace(config, versions=(), parameters=parameters)).encode())
        for path, data in sorted(model_files(name).items()) if name != p.ENSEMBLE else ():
            digest.update(f"{name} {path} {hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()[:8]


def with_content(config: ModelConfig, content: str) -> ModelConfig:
    """The configuration with the content hash among its parameters."""
    return replace(config, parameters={**config.parameters, CONTENT: content})


def write_route(models_folder: Path, route: str) -> ModelConfig:
    """Rewrite the predictor's configuration for a route, in one rename, unless it says so already; returns it."""
    path = model_folder(models_folder, p.PREDICTOR) / "config.pbtxt"
    present = from_pbtxt(path.read_text())
    config = with_route(present, route)
    if config == present:
        return config
    write_whole(path, to_pbtxt(config))
    return config


def verify(folder: Path, release: Release) -> None:
    """Raise `PermanentFailure` if a file of the release on disk is missing or is another. The route may differ."""
    config = f"models/{p.model_for(p.PREDICTOR, release.contents)}/config.pbtxt"
    for path, expected in release.files.items():
        found = folder / path
        if path == config and found.is_file() and _says_only_another_route(found, release):
            continue
        if not found.is_file() or hashlib.sha256(found.read_bytes()).hexdigest() != expected:
            raise PermanentFailure(
                f"release {release.id}: {path} is missing or damaged in {folder}; look who changed it, move that folder away and "
                "promote again: it is fetched anew"
            )


def _says_only_another_route(config: Path, release: Release) -> bool:
    """Whether the predictor's configuration is that of the release but for who serves."""
    name = p.model_for(p.PREDICTOR, release.contents)
    prefix = f"models/{name}/"
    files = {path.removeprefix(prefix): sha for path, sha in release.files.items() if path.startswith(prefix)}
    del files["config.pbtxt"]
    try:
        found = from_pbtxt(config.read_text())
        neutral = replace(found, parameters={k: v for k, v in found.parameters.items() if k != CONTENT})
        return _content_of(files, neutral) == release.contents[name] == found.parameters.get(CONTENT)
    except BadInput:
        return False


def _write_version(folder: Path, name: str) -> None:
    if name == p.ENSEMBLE:
        folder.mkdir(parents=True)
        (folder / "README.txt").write_text("An ensemble has no files of its own; Triton wants the version's folder.\n")
        return
    for path, data in model_files(p.step_of(name) or name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def _content(folder: Path, config: ModelConfig) -> str:
    """Hash of a model's files and configuration. Who serves now is no part of it: a switch is no new content."""
    return _content_of(_hashes(folder), config)


def _content_of(files: Mapping[str, str], config: ModelConfig) -> str:
    neutral = replace(config, versions=(), parameters={k: v for k, v in config.parameters.items() if k != "route"})
    digest = hashlib.sha256(to_pbtxt(neutral).encode())
    for path, sha in sorted(files.items()):
        digest.update(f"{path} {sha}\n".encode())
    return digest.hexdigest()[:16]


def _hashes(folder: Path) -> dict[str, str]:
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != "release.json"]
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
