"""`POST /v1/labels`: what people say of answers, into `labels/` of the raw bucket, as `genre-assets review --take` does."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from genre_assets.gateway.access.api_keys import Scope
from genre_assets.gateway.access.needs import needs
from genre_assets.gateway.backend import Backend, Here
from genre_assets.serving.feedback.label_lists import LONGEST_NAME, LONGEST_REQUEST_ID, GivenLabel, send_labels

router = APIRouter(prefix="/v1", tags=["labels"])


class Label(BaseModel):
    """What a person says of one item: the label that it should have had."""

    request_id: str = Field(min_length=1, max_length=LONGEST_REQUEST_ID)
    item: Annotated[int, Field(ge=0, lt=10**9)] = 0
    label: str = Field(min_length=1, max_length=200, examples=["blues"])


class Labels(BaseModel):
    """Labels of one person, taken whole or not at all."""

    labels: list[Label] = Field(min_length=1, max_length=5000)
    by: str = Field("", max_length=LONGEST_NAME, description="Who says so; two people who differ are asked about.")


class Kept(BaseModel):
    """Where they are now: the next run of drift takes them."""

    key: str
    labels: int


@router.post(
    "/labels", dependencies=[needs(Scope.LABEL)], status_code=HTTPStatus.CREATED, summary="Say what items really were"
)
async def labels(given: Labels, backend: Here) -> Kept:
    """422 with the place of the first label that is not in the label set, and nothing is taken."""
    return await backend.ask(_keep, backend, given)


def _keep(backend: Backend, given: Labels) -> Kept:
    said = [
        (f"label {place}", GivenLabel(one.request_id, one.item, one.label, given.by))
        for place, one in enumerate(given.labels, 1)
    ]
    return Kept(key=send_labels(said, backend.store, backend.settings), labels=len(said))
