"""REST, from the gateway's OpenAPI description."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from genre_assets.gateway.app import create_app
from genre_assets.settings import load_settings
from genre_assets_tests.site.markdown import code, page, sentence, table


def rest_page() -> str:
    """Each path with its parameters, bodies and answers, then the schemas."""
    app = create_app(load_settings()).app
    assert isinstance(app, FastAPI)
    described = app.openapi()
    paths = [
        _operation(path, method, operation)
        for path, methods in sorted(described["paths"].items())
        if path.startswith("/v1/")
        for method, operation in methods.items()
    ]
    schemas = [
        f"### {code(name)}\n\n{sentence(schema.get('description'))}\n\n"
        + table(("Field", "Type", "Required", "What it is"), _fields(schema))
        for name, schema in sorted(described["components"]["schemas"].items())
        if schema.get("properties") and not name.startswith(("HTTPValidation", "ValidationError"))
    ]
    return page(
        "REST",
        "The gateway serves it, at <http://127.0.0.1:8405> by default; `/v1/openapi.json` is the same for machines. An error is "
        "`application/problem+json` (RFC 9457): its `detail` says what was wrong and what to do. Commands to try are on the page of [the gateway](../gateway.md).",
        *paths,
        "## Schemas\n",
        *schemas,
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [
        f"## {code(f'{method.upper()} {path}')}\n",
        f"**{operation['summary']}.** {sentence(operation.get('description'))}\n",
    ]
    parameters = [
        (code(one["name"]), one["in"], _kind(one["schema"]), "yes" if one.get("required") else "no", sentence(one.get("description")))
        for one in operation.get("parameters", [])
    ]  # fmt: skip
    if parameters:
        lines.append(table(("Parameter", "In", "Type", "Required", "What it is"), parameters))
    bodies = [(code(kind), _kind(content.get("schema", {}))) for kind, content in operation.get("requestBody", {}).get("content", {}).items()]  # fmt: skip
    if bodies:
        lines.append(table(("Body", "Type"), bodies))
    answers = [
        (code(f"{status} {HTTPStatus(int(status)).phrase}"), ", ".join(_kind(c.get("schema", {})) for c in answer.get("content", {}).values()))
        for status, answer in sorted(operation["responses"].items())
        if status.startswith("2")
    ]  # fmt: skip
    return "\n".join([*lines, table(("Answer", "Type"), answers)])


def _fields(schema: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    required = schema.get("required", [])
    return [
        (code(name), _kind(field), "yes" if name in required else "no", sentence(field.get("description")))
        for name, field in schema["properties"].items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return code(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    kind = str(schema.get("type", "anything"))
    return {"null": "nothing", "string": "text"}.get(kind, kind)
