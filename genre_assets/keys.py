"""Where every object is kept: the layout of the buckets. Nobody else writes the text of a key.

raw         <label>/<anything>                       audio, as it was ingested
<label>/clients/<SHA-256>.<suffix>       a client's clip that people labelled, as it was answered
groups.csv                               which files are of one artist or album
splits.csv                               which files train and which are held out, where somebody says
labels.yaml                              the label set, once it is kept
labels/<time>-<hash>.csv                 labels of served items, given by people
clients     raw/<day>/<content hash>.<ending>            audio of clients, as it was sent
features    inventory/genre=<g>/{part.parquet, manifest.json}       of a large label: part-<prefix of the content hash>-<digest>.parquet
quarantine/genre=<g>/part.parquet
decisions/{again/<g>,chosen}/<hash of the key>.json     what people decided of files in quarantine
dropped/<ETag>/<key in raw>              audio that somebody took out of the raw bucket
features/<set>/genre=<g>/{part.parquet, manifest.json}       or parts, likewise
checkpoints/<name>.parquet               rows of a run that was interrupted
checkpoints/features-<set>/genre=<g>/<hash>.parquet   feature rows that are in no table yet
ready/{current.json, <set>/<split>.parquet}      feature tables that stand in for audio
training_set/{part.parquet, manifest.json}
serving     environments/<lock hash>.{tar.gz, json, signature.json}
releases/{current.json, parity.json, wanted.json, <id>/{release.json, signature.json, <files of the model repository>}}
reference/version=<n>/part.parquet       what drift of this version of a model is measured against
drift/<window>/{report.json, report.html}
predictions/<hash of the prefix>/{answers.parquet, parts/<hash>.parquet}
builds/last.json                         what the last whole build read and left
dagster/                                 what runs printed
"""

import hashlib
import re
from datetime import datetime

GROUPS = "groups.csv"
SPLITS = "splits.csv"
LABEL_SET = "labels.yaml"
LABEL_FILES = "labels/"
READY = "ready/"
READY_TABLES = "ready/current.json"
TRAINING_SET = "training_set/part.parquet"
TRAINING_SET_MANIFEST = "training_set/manifest.json"
ENVIRONMENTS = "environments/"
RELEASES = "releases/"
CURRENT_RELEASE = "releases/current.json"
PARITY = "releases/parity.json"
WANTED_RELEASE = "releases/wanted.json"  # what replicas are to serve, for those that the database does not reach
REFERENCES = "reference/"
LAST_BUILD = "builds/last.json"
DECISIONS = "decisions/"
AGAIN = "decisions/again/"
DROPPED = "dropped/"
COMPUTE_LOGS = "dagster"  # dagster-aws adds the slash

CLIENTS_AUDIO = "raw/"  # in the clients' bucket
_CAPTURED = re.compile(r"raw/(\d{4}-\d\d-\d\d)/([0-9a-f]{64})\.[a-z0-9]+")
CLIENTS = "clients"
_PART = re.compile(r"part-[0-9a-f]{1,2}-[0-9a-f]{16}\.parquet$")
_GENRE = re.compile(r"/genre=([^/]+)/")
_REFERENCE = re.compile(r"reference/version=(\d+)/part\.parquet")


def is_audio(key: str) -> bool:
    """Whether an object of the raw bucket is somebody's file, not the platform's own."""
    return not key.startswith((GROUPS, SPLITS, LABEL_SET, LABEL_FILES))


def label_of(key: str) -> str:
    """The label in whose folder an object of the raw bucket lies; "" for one at the bucket's root."""
    folder, separator, _ = key.partition("/")
    return folder if separator else ""


def label_file(at: datetime, content: bytes) -> str:
    """Where a CSV of labels is kept that somebody gave."""
    return f"{LABEL_FILES}{at:%Y%m%dT%H%M%S}-{hashlib.sha256(content).hexdigest()[:8]}.csv"


def clients_audio(day: str, content_hash: str, ending: str) -> str:
    """Where a clip of a client is kept, in the clients' bucket; `day` is YYYY-MM-DD."""
    return f"{CLIENTS_AUDIO}{day}/{content_hash}.{ending}"


def captured_on(key: str) -> str | None:
    """The day of a clip that was captured; None for any other key, which is somebody's own."""
    match = _CAPTURED.fullmatch(key)
    return match[1] if match else None


def captured_as(key: str) -> str | None:
    """The content hash of a clip that was captured; None for any other key."""
    match = _CAPTURED.fullmatch(key)
    return match[2] if match else None


def client_clip(label: str, fingerprint: str, suffix: str) -> str:
    """Where a client's clip is kept that people labelled. `suffix` is that of its file, with the dot, or empty."""
    return f"{label}/{CLIENTS}/{fingerprint}{suffix}"


def is_client_clip(key: str) -> bool:
    """Whether an object of the raw bucket is such a clip."""
    return key.split("/")[1:-1] == [CLIENTS]


def inventory(genre: str) -> str:
    """The inventory of a genre."""
    return f"inventory/genre={genre}/part.parquet"


def inventory_manifest(genre: str) -> str:
    """What `inventory` was made from, and under which rules."""
    return f"inventory/genre={genre}/manifest.json"


def parts(table: str) -> str:
    """Prefix of a table's objects: the one of all its rows, and its parts."""
    return table.removesuffix(".parquet")


def part(table: str, prefix: str, digest: str) -> str:
    """The rows of a table whose content hashes begin with `prefix`; `digest` is of these rows."""
    return f"{parts(table)}-{prefix}-{digest}.parquet"


def table_of(key: str) -> str:
    """The table that an object is all of, or a part of; the key itself if it is none of those."""
    return _PART.sub("part.parquet", key)


def quarantine(genre: str) -> str:
    """The unusable files of a genre; `unknown` is for files in no genre's folder."""
    return f"quarantine/genre={genre}/part.parquet"


def read_again(genre: str = "", key: str = "") -> str:
    """That somebody wants a file of the raw bucket looked at again; without a key, the prefix of all such of a genre, or of all."""
    return _decision(f"{AGAIN}{genre}/", key) if genre else AGAIN


def genre_of_read_again(key: str) -> str:
    """The genre that a key of `read_again` names."""
    return key.removeprefix(AGAIN).partition("/")[0]


def chosen(key: str = "") -> str:
    """That somebody chose a file among the copies of a recording; without a key, the prefix of all such."""
    return _decision("decisions/chosen/", key)


def _decision(prefix: str, key: str) -> str:
    return f"{prefix}{hashlib.sha256(key.encode()).hexdigest()[:32]}.json" if key else prefix


def dropped(etag: str, key: str) -> str:
    """Where an object of the raw bucket is kept that somebody dropped."""
    return f"{DROPPED}{etag}/{key}"


def dropped_from(key: str) -> tuple[str, str]:
    """The ETag and the key that an object below `DROPPED` had in the raw bucket."""
    etag, _, raw = key.removeprefix(DROPPED).partition("/")
    return etag, raw


def features_of(feature_set: str) -> str:
    """Prefix of every table of a feature set."""
    return f"features/{feature_set}/"


def features(feature_set: str, genre: str) -> str:
    """The feature table of a genre."""
    return f"{features_of(feature_set)}genre={genre}/part.parquet"


def genre_of(key: str) -> str | None:
    """The genre whose table a key of the features bucket belongs to; None for any other key."""
    match = _GENRE.search(key)
    return match[1] if match else None


def features_manifest(feature_set: str, genre: str) -> str:
    """What `features` was made from."""
    return f"{features_of(feature_set)}genre={genre}/manifest.json"


def ready_table(feature_set: str, split: str) -> str:
    """A feature table that was ingested."""
    return f"ready/{feature_set}/{split}.parquet"


def checkpoint(name: str) -> str:
    """Rows of one kind of work that was interrupted."""
    return f"checkpoints/{name}.parquet"


def kept_rows(feature_set: str, genre: str, content: str) -> str:
    """Feature rows of a genre that are in no table yet; `content` is a digest of what they are of."""
    return f"{all_kept_rows(feature_set)}genre={genre}/{content}.parquet"


def all_kept_rows(feature_set: str) -> str:
    """Prefix of all such rows of a feature set."""
    return f"checkpoints/features-{feature_set}/"


def environment(lock_hash: str) -> str:
    """The archive of an execution environment."""
    return f"environments/{lock_hash}.tar.gz"


def environment_signature(lock_hash: str) -> str:
    """The signature of that archive."""
    return f"environments/{lock_hash}.signature.json"


def release_signature(identifier: str) -> str:
    """The signature of a release."""
    return release(identifier, "signature.json")


def release(identifier: str, path: str = "release.json") -> str:
    """A file of a release; without `path`, its manifest, which is written last."""
    return f"{RELEASES}{identifier}/{path}"


def release_of(key: str) -> str:
    """The release that an object below `RELEASES` belongs to."""
    return key.split("/")[1]


def reference(version: int) -> str:
    """The drift reference of a version of a model."""
    return f"{REFERENCES}version={version}/part.parquet"


def version_of_reference(key: str) -> int | None:
    """The version that a key of `reference` names; None for any other key."""
    match = _REFERENCE.fullmatch(key)
    return int(match[1]) if match else None


def report(window: str, kind: str) -> str:
    """The report of a window: `json` holds its numbers, `html` is Evidently's page."""
    return f"drift/{window}/report.{kind}"


def answers(prefix: str) -> str:
    """The answers of a batch over a prefix of the raw bucket, or over `s3://bucket/prefix` of another."""
    return f"{_batch(prefix)}/answers.parquet"


def answers_part(prefix: str, content: str) -> str:
    """The answers to one part of such a batch; `content` is a digest of the part's files."""
    return f"{answers_parts(prefix)}{content}.parquet"


def answers_parts(prefix: str) -> str:
    """Prefix of the parts of such a batch."""
    return f"{_batch(prefix)}/parts/"


def _batch(prefix: str) -> str:
    return f"predictions/{hashlib.sha256(prefix.encode()).hexdigest()[:12]}"
