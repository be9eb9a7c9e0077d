"""`POST /v1/predict`: bytes of a file, several files, or addresses in S3, to answers; and what the log holds of them."""

import asyncio
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from genre_assets.errors import BadInput
from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import key_of, needs
from genre_assets.gateway.backend import Here
from genre_assets.gateway.problems import Problem
from genre_assets.inference import request_log
from genre_assets.triton.client.prediction import Prediction
from genre_assets.triton.client.wire import span_of

router = APIRouter(prefix="/v1", tags=["predictions"], dependencies=[needs(Scope.PREDICT)])
AUDIO = {"schema": {"type": "string", "format": "binary"}}
BODIES = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": AUDIO,
            "audio/*": AUDIO,
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Addresses"},
                "example": {"items": ["s3://genre-raw/blues/one.wav"]},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": AUDIO["schema"]}},
                }
            },
        },
    }
}


class Addresses(BaseModel):
    """A body of `application/json`: items that lie in S3."""

    items: list[Annotated[str, Field(pattern="^s3://[^/]+/.+", max_length=1100)]] = Field(min_length=1, max_length=256)


class Answer(BaseModel):
    """The answer to one item. One that could not be used has an `error` and no label."""

    request_id: str = Field(description="With `item`, the row of the prediction log; a label names both.")
    item: int
    label: str | None = Field(examples=["blues"])
    confidence: float | None = Field(description="Probability of the label, calibrated.")
    probabilities: dict[str, float] = Field(description="In the order of the model's labels.")
    model: str = Field(description="Family of the model that answered.")
    version: int = Field(description="Its number in the registry.")
    heard: dict[str, float | None] | None = Field(
        description="Where the part that was heard begins, its and the file's seconds."
    )
    timeline: dict[str, Any] | None = Field(
        description="An answer for each segment of the whole file, where asked for."
    )
    error: str | None = Field(examples=[None], description="A reason code, a colon, and words.")

    @classmethod
    def of(cls, given: Prediction) -> "Answer":
        """From the client's answer."""
        return cls(
            request_id=given.request_id,
            item=given.item,
            label=given.label or None,
            confidence=max(given.probabilities.values(), default=None),
            probabilities=given.probabilities,
            model=given.model,
            version=given.version,
            heard=asdict(given.heard) if given.heard else None,
            timeline=given.timeline.as_dict() if given.timeline else None,
            error=given.error or None,
        )


class Answers(BaseModel):
    """One for each item, in their order."""

    answers: list[Answer]


@router.post("/predict", openapi_extra=BODIES, summary="Classify audio")
async def predict(
    request: Request,
    backend: Here,
    content_type: Annotated[str, Header()] = "application/octet-stream",
    traceparent: Annotated[str, Header(description="W3C trace context: the request's id begins with it.")] = "",
    *,
    timeline: bool = False,
) -> Answers:
    """Bytes of one file as the body, files as `multipart/form-data`, or `{"items": ["s3://bucket/key"]}` as JSON.

    With `timeline` each segment of the whole file is answered too, which takes as long as the file asks for.

    One item that cannot be used is answered with 422 and its reason; among several, it has an `error` in its place.
    """
    kind = content_type.partition(";")[0].strip().lower()
    most = _most_bytes(request, backend)
    if kind == "application/json":
        items: list[bytes | str] = [*_addresses(await _body(request, 2**20))]
    elif kind == "multipart/form-data":
        items = [*await _files(request, backend, most)]
    else:
        items = [await _body(request, most)]
        if items == [b""]:
            raise Problem(HTTPStatus.BAD_REQUEST, "the body is empty: send the bytes of an audio file")
    answers = [
        Answer.of(given) for given in await backend.client.predict(items, timeline=timeline, trace=_trace(traceparent))
    ]
    if len(answers) == 1 and answers[0].error:
        code, _, words = answers[0].error.partition(": ")
        where: dict[str, Any] = {"request_id": answers[0].request_id, "item": answers[0].item}
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, words or code, code=code, **where)
    return Answers(answers=answers)


@router.get("/predictions/{request_id}", summary="What the prediction log holds of a request")
async def predictions(request_id: str, backend: Here) -> dict[str, list[dict[str, Any]]]:
    """A row for each item, some tenths of a second after it was answered; probes and refused requests have none."""
    rows = await backend.ask(request_log.of_request, backend.database, request_id)
    if not rows:
        raise Problem(HTTPStatus.NOT_FOUND, f"no row of the request {request_id[:200]!r} is in the log (yet)")
    return {"items": [{**row, "ts": row["ts"].isoformat()} for row in rows]}


@router.get("/predictions/{request_id}/explanation", summary="Why an item was answered as it was")
async def explanation(
    request_id: str, backend: Here, item: Annotated[int, Query(ge=0, lt=10**9)] = 0
) -> dict[str, Any]:
    """How usual the sound is, the training clips nearest to it, the features that spoke most; null is unknown, and said why."""
    rows = await backend.table("explanation", f"--request={request_id}", "--item", str(item))
    if not rows:
        raise Problem(
            HTTPStatus.NOT_FOUND, f"no row of the request {request_id[:200]!r}, item {item}, is in the log (yet)"
        )
    return rows[0]


def _trace(traceparent: str) -> str:
    """The header, or nothing where it is none: W3C has a damaged one ignored."""
    try:
        span_of(traceparent)
    except BadInput:
        return ""
    return traceparent


def _addresses(body: bytes) -> list[str]:
    try:
        return Addresses.model_validate_json(body).items
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def _most_bytes(request: Request, backend: Here) -> int:
    """Of one item: what the server takes, or what the key may send."""
    key = key_of(request)
    server = backend.settings.serving_max_item_mb
    return round(2**20 * min(server, key.max_mb if key and key.max_mb else server))


async def _body(request: Request, most: int) -> bytes:
    """The whole body, refused as soon as it is larger."""
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
    except ClientDisconnect:
        raise Problem(HTTPStatus.BAD_REQUEST, "the body ended too early") from None
    return b"".join(parts)


async def _files(request: Request, backend: Here, most: int) -> list[bytes]:
    """The files of a form; larger parts wait on disk, not in memory."""
    key = key_of(request)
    server = backend.settings.serving_max_request_mb
    total = round(2**20 * min(server, key.max_mb if key and key.max_mb else server))
    request._receive = _counted(request, total)  # noqa: SLF001  # Starlette's form has no limit of its own for files
    async with request.form(max_files=256) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        if not files:
            raise Problem(HTTPStatus.BAD_REQUEST, "the form holds no file: send each as a part of its own")
        for part in files:
            if (part.size or 0) > most:
                raise _too_large(most)
        return await asyncio.gather(*(part.read() for part in files))


def _counted(request: Request, most: int) -> Any:
    receive, size = request.receive, 0

    async def counted() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        return message

    return counted


def _too_large(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the audio has more than {most / 2**20:.4g} MB, which is the limit"
    )
