"""`POST /v1/labels`: what people say of answers, into `labels/` of the raw bucket, as `genre-assets review --take` does."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from genre_assets import keys
from genre_assets import labels as label_set
from genre_assets.gateway.backend import Backend, Here
from genre_assets.serving.feedback.review import LABEL_COLUMNS, LONGEST_REQUEST_ID, read_labels

router = APIRouter(prefix="/v1", tags=["labels"])


class Label(BaseModel):
    """What a person says of one item: the label that it should have had."""

    request_id: str = Field(min_length=1, max_length=LONGEST_REQUEST_ID)
    item: Annotated[int, Field(ge=0, lt=10**9)] = 0
    label: str = Field(min_length=1, max_length=200, examples=["blues"])


class Labels(BaseModel):
    """Labels of one person, taken whole or not at all."""

    labels: list[Label] = Field(min_length=1, max_length=5000)
    by: str = Field("", max_length=100, description="Who says so; two people who differ are asked about.")


class Kept(BaseModel):
    """Where they are now: the next run of drift takes them."""

    key: str
    labels: int


@router.post("/labels", status_code=HTTPStatus.CREATED, summary="Say what items really were")
async def labels(given: Labels, backend: Here) -> Kept:
    """422 with the place of the first label that is not in the label set, and nothing is taken."""
    return await backend.ask(_keep, backend, given)


def _keep(backend: Backend, given: Labels) -> Kept:
    said = _as_csv([(one.request_id, one.item, one.label, given.by) for one in given.labels])
    known = read_labels(said, "labels", label_set.read(backend.store, backend.settings))
    content = _as_csv([(*label, given.by) for label in known])
    key = keys.label_file(datetime.now(UTC), content)
    backend.store.put_bytes(backend.settings.raw_bucket, key, content, "text/csv")
    return Kept(key=key, labels=len(known))


def _as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*LABEL_COLUMNS, "labelled_by"])
    writer.writerows(rows)
    return buffer.getvalue().encode()
