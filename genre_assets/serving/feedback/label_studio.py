"""Label Studio's files: tasks that it imports, the labelling page for the label set, and the export of what people chose.

Two plain JSON formats and an XML page, so that no server and no library of it is needed here:
https://labelstud.io/guide/tasks and https://labelstud.io/guide/export.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from xml.sax.saxutils import quoteattr  # nosec B406  # writes, and parses nothing

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genre_assets.errors import BadInput
from genre_assets.text import MOST_BYTES, visible

CHOICE, AUDIO = "genre", "audio"  # names on the labelling page, by which results say what they are of
MOST_EXPORT_BYTES = 10 * MOST_BYTES


class ChoiceValue(BaseModel):
    """The choices of one result; a page of one choice has one."""

    choices: list[str]


class ChoiceResult(BaseModel):
    """One answer on the page. Results of other kinds, of pages with more on them, are passed over."""

    model_config = ConfigDict(extra="ignore")

    from_name: str = CHOICE
    to_name: str = AUDIO
    type: str = "choices"
    value: ChoiceValue


class Prediction(BaseModel):
    """What the model answered, shown as chosen already; `score` is its confidence, 0 to 1."""

    model_version: str
    score: float
    result: list[ChoiceResult]


class TaskData(BaseModel):
    """What a task is about: the address that plays, and which item it is."""

    model_config = ConfigDict(extra="allow")

    audio: str
    request_id: str
    item: int


class Task(BaseModel):
    """A task as Label Studio imports it."""

    data: TaskData
    predictions: list[Prediction] = Field(default_factory=list)


class _Person(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: int | None = None
    email: str = ""


class _Annotation(BaseModel):
    model_config = ConfigDict(extra="ignore")

    completed_by: int | _Person | None = None
    was_cancelled: bool = False
    result: list[dict[str, Any]] = Field(default_factory=list)


class _ExportedData(BaseModel):
    model_config = ConfigDict(extra="ignore")

    request_id: str
    item: Annotated[int, Field(ge=0)]


class _Exported(BaseModel):
    model_config = ConfigDict(extra="ignore")

    data: _ExportedData
    annotations: list[_Annotation] = Field(default_factory=list)


@dataclass(frozen=True)
class Chosen:
    """What one annotator chose for one item."""

    request_id: str
    item: int
    label: str
    labelled_by: str


def page(labels: Sequence[str]) -> str:
    """The labelling page ("Labeling Interface", as code) for these labels: play the clip, choose one."""
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in labels)
    return (
        f'<View>\n  <Audio name="{AUDIO}" value="${AUDIO}"/>\n'
        f'  <Choices name="{CHOICE}" toName="{AUDIO}" choice="single" required="true" showInline="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )


def tasks_json(tasks: Sequence[Task]) -> str:
    """The tasks as the JSON file that Label Studio imports."""
    return json.dumps([task.model_dump(mode="json") for task in tasks], indent=1)


def read_export(data: bytes, name: str) -> Iterator[tuple[str, Chosen]]:
    """(where, what was chosen) of each finished annotation in an export ("JSON").

    Skipped tasks and tasks without an annotation are left out. Raises `BadInput` that names the file and the task.
    """
    if len(data) > MOST_EXPORT_BYTES:
        most = MOST_EXPORT_BYTES / 1e6
        raise BadInput(f"{visible(name)}: the file has {len(data) / 1e6:.1f} MB; {most:g} MB are the most")
    try:
        listed = TypeAdapter(list[Any]).validate_python(json.loads(data.decode("utf-8-sig")))
    except (ValueError, RecursionError) as error:
        said = str(error).splitlines()[0][:200]
        raise BadInput(f"{visible(name)} is no JSON export of Label Studio ({said})") from error
    for number, entry in enumerate(listed, start=1):
        where = f"{visible(name)}, task {number}"
        try:
            task = _Exported.model_validate(entry)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(str(part) for part in fault["loc"]) or "task"
            raise BadInput(
                f"{where}: {place}: {fault['msg']}; export as JSON (not JSON-MIN) a project whose tasks were made by "
                "genre-assets review --format label-studio"
            ) from error
        for annotation in task.annotations:
            label = None if annotation.was_cancelled else _choice(annotation, where)
            if label is not None:
                yield where, Chosen(task.data.request_id, task.data.item, label, _annotator(annotation))


def _choice(annotation: _Annotation, where: str) -> str | None:
    """The label that was chosen; None for an annotation that chooses none."""
    for entry in annotation.result:
        if entry.get("type") == "choices" and entry.get("from_name") == CHOICE:
            try:
                choices = ChoiceResult.model_validate(entry).value.choices
            except ValidationError as error:
                raise BadInput(f"{where}: its result {CHOICE} has no list of choices") from error
            if len(choices) > 1:
                raise BadInput(f"{where}: {len(choices)} labels are chosen; one is wanted")
            return choices[0] if choices else None
    return None


def _annotator(annotation: _Annotation) -> str:
    """Who: the e-mail address if the export has it, else the number of the account."""
    person = annotation.completed_by
    if isinstance(person, _Person):
        return person.email or (f"label-studio:{person.id}" if person.id is not None else "")
    return f"label-studio:{person}" if person is not None else ""
