"""Names and shapes that the Triton models, the client and the configuration must agree on.

Only constants and tiny pure helpers; the Triton models import this module.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable
from typing import Final

ENSEMBLE: Final = "genre_ensemble"
PRE_PROCESSOR: Final = "pre_processor"
PREDICTOR: Final = "predictor"
POST_PROCESSOR: Final = "post_processor"
PYTHON_MODELS: Final = (PRE_PROCESSOR, PREDICTOR, POST_PROCESSOR)

# The ensemble, as clients see it. n is the number of items of a request.
AUDIO: Final = "AUDIO"  # BYTES [n, 1]: the bytes of an audio file, or s3://bucket/key
LABEL: Final = "LABEL"  # BYTES [n, 1]: a label; empty for an item that failed
PROBABILITIES: Final = "PROBABILITIES"  # FP32 [n, n_classes]: in metadata order; zeros for an item that failed
MODEL: Final = "MODEL"  # BYTES [n, 1]: family of the model that answered
VERSION: Final = "VERSION"  # INT64 [n, 1]: its version in the registry
LABEL_SET: Final = "LABEL_SET"  # BYTES [n, 1]: version of the label set that the probabilities are of
HEARD: Final = (
    "HEARD"  # BYTES [n, 1]: JSON {from_s, seconds, of_s}; of_s is null if unknown; empty for an item that failed
)
TIMELINE: Final = "TIMELINE"  # BYTES [n, 1]: JSON {heard_s, of_s, note, error, segments}; empty unless it was asked for
ERROR: Final = "ERROR"  # BYTES [n, 1]: "code: what was wrong"; empty if fine

# Between the steps.
FEATURES: Final = "FEATURES"  # FP32 [n, segments, columns]: rows of NaN where an item has no such segment
FACTS: Final = "FACTS"  # BYTES [n, 1]: JSON of `answers.Facts`, sealed (`seal`)
PARTS: Final = "PARTS"  # BYTES [n, 1]: `timeline.Parts` of an item; empty unless a timeline is asked for
SCORES: Final = "SCORES"  # FP32 [n, n_classes]: NaN for an item without a usable segment
SERVED_BY: Final = "SERVED_BY"  # BYTES [n, 1]: JSON of `answers.ServedBy`, sealed
SEAL_KEY: Final = "triton/facts.key"  # below the state folder: known to the models alone
CAPTURE_SPOOL: Final = "triton/capture"  # below the state folder: clients' audio on its way to their bucket

Route = str  # "champion" | "fallback"
ROUTES: Final = ("champion", "fallback")

# Requests whose id starts so are answered like any other but not logged: golden clips, health checks.
PROBE: Final = "probe:"
LONGEST_REQUEST_ID: Final = 200  # characters
TAG: Final = "tag"  # a parameter of the request: a client's own word, which is logged with its items
# A parameter of the request, true: TIMELINE is wanted. (Which outputs a client wants, the steps of an ensemble never hear.)
WITH_TIMELINE: Final = "timeline"
LONGEST_TAG: Final = 100  # characters; the rest is cut off
# How the models word a failure of a whole request that would fail again: clients do not send it a second time.
REQUEST_FAILED: Final = "this request cannot be answered"
ADMIN_HEADER: Final = "admin-token"
GRPC_ADMIN_HEADER: Final = "triton-grpc-protocol-admin-token"
DOOR_HEADER: Final = "door-key"  # Triton answers inference to nobody without it; clients neither know nor need it
GRPC_DOOR_HEADER: Final = "triton-grpc-protocol-door-key"

_STEP: Final = re.compile(rf"({'|'.join(PYTHON_MODELS)})(?:_[0-9a-f]{{8}})?")
_TRACED: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16}-\d+)")


def named(step: str, contract: str) -> str:
    """The name of the Triton model that is a step of the ensembles of a contract (eight hex digits; see `release.contract_of`)."""
    return f"{step}_{contract}" if contract else step


def step_of(model: str) -> str | None:
    """Which step of an ensemble a Triton model is, by its name; None if it is none. Early releases name no contract."""
    found = _STEP.fullmatch(model)
    return found[1] if found else None


def model_for(step: str, models: Iterable[str]) -> str:
    """That of a release's models which is the step; the step's own name if none is."""
    return next((model for model in models if step_of(model) == step), step)


def row_id(request_id: str, item: int) -> uuid.UUID:
    """Id of an item's row in the prediction log.

    A request id that is a UUID, or trace, span and number (see `client.wire`), names the request for ever, so a retry under it
    gives the same rows and is logged once. Any other id is the client's own affair (many send "1" each time): its rows get
    ids of their own.
    """
    if traced := _TRACED.fullmatch(request_id):
        return uuid.uuid5(uuid.UUID(traced[1]), f"{traced[2]}-{item}")
    try:
        return uuid.uuid5(uuid.UUID(request_id), str(item))
    except ValueError:
        return uuid.uuid4()


def short_id(request_id: str) -> str:
    """The request id as it is logged: one that is too long by its start and its hash."""
    if len(request_id) <= LONGEST_REQUEST_ID:
        return request_id
    digest = hashlib.sha256(request_id.encode(errors="surrogatepass")).hexdigest()[:16]
    return f"{request_id[:100]}...{digest}"


def failed(error: Exception) -> str:
    """What a client is told of a failure that nobody foresaw: its kind, never its text, which may hold paths or secrets."""
    return f"{REQUEST_FAILED}: {type(error).__name__}; the server's log says more"
