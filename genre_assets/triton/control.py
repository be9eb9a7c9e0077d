"""Asking a Triton server what it serves, and telling it to load: the embedded one or any other, by URL.

HTTP with the standard library alone, so that asset checks, the supervisor and the command line pay no import.
"""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from genre_assets.errors import PermanentFailure, TransientFailure
from genre_assets.settings import Settings
from genre_assets.triton.protocol import (
    ADMIN_HEADER,
    AUDIO,
    DOOR_HEADER,
    ENSEMBLE,
    ERROR,
    LABEL,
    PREDICTOR,
    PROBE,
    step_of,
)

UNAVAILABLE = 503


class TritonControl:
    """The administrative side of one Triton server.

    Raises `TransientFailure` when the server does not answer and `PermanentFailure` when it refuses (a model that
    does not load, a wrong token), with what it said.
    """

    def __init__(self, address: str, token: str = "", *, door_key: str = "", timeout: float = 120.0) -> None:
        self.url = (address if "://" in address else f"http://{address}").rstrip("/")
        self._token = token
        self._door_key = door_key
        self._timeout = timeout

    @classmethod
    def from_settings(cls, settings: Settings) -> "TritonControl":
        """Control of the server that the settings name, through its door; nothing is sent yet."""
        return cls(settings.triton_http, settings.triton_admin_token.get_secret_value())

    @classmethod
    def behind_the_door(cls, settings: Settings, *, timeout: float = 120.0) -> "TritonControl":
        """Control of the local server itself, for those who keep it alive: it holds up when the door does not."""
        token, key = settings.triton_admin_token.get_secret_value(), settings.triton_door_key.get_secret_value()
        return cls(settings.triton_inner_http, token, door_key=key, timeout=timeout)

    def live(self) -> bool:
        """Whether the server answers at all."""
        return self._is_ok("/v2/health/live")

    def ready(self, model: str = ENSEMBLE) -> bool:
        """Whether the model takes requests; the server-wide endpoint turns false while an old version unloads."""
        return self._is_ok(f"/v2/models/{model}/ready")

    def probe(self, clip: bytes, *, timeout: float = 8.0) -> str:
        """Ask the ensemble one clip (the bytes of a file), as a probe that is in no log; returns the answer's label.

        Raises `PermanentFailure` if the item has an error or the server refuses, `TransientFailure` if it is silent.
        """
        content = len(clip).to_bytes(4, "little") + clip
        asked = {
            "id": f"{PROBE}light",
            "inputs": [
                {"name": AUDIO, "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(content)}}
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": False}} for name in (LABEL, ERROR)],
        }
        head = json.dumps(asked).encode()
        headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
        if self._door_key:
            headers[DOOR_HEADER] = self._door_key
        path = f"{self.url}/v2/models/{ENSEMBLE}/infer"
        answer = self._send(Request(path, head + content, headers, method="POST"), timeout)  # noqa: S310
        given = {output["name"]: output["data"][0] for output in answer["outputs"]}
        if given[ERROR]:
            raise PermanentFailure(f"{ENSEMBLE} answers a known clip with an error: {given[ERROR]}")
        return str(given[LABEL])

    def load(self, model: str) -> None:
        """Load the model, or load it again if its files have changed; returns when it serves."""
        self._post(f"/v2/repository/models/{model}/load")

    def unload(self, model: str) -> None:
        """Take the model out of service."""
        self._post(f"/v2/repository/models/{model}/unload")

    def index(self) -> list[dict[str, str]]:
        """Every model version in the server's repository: name, version, state, reason."""
        entries: list[dict[str, str]] = self._post("/v2/repository/index")
        return entries

    def loaded_models(self) -> set[str]:
        """Names of the models that are loaded, of those too whose folder the repository has no more: the index leaves them out."""
        return {model["name"] for model in self._get("/v2/models/stats")["model_stats"]}

    def metadata(self, model: str = ENSEMBLE) -> dict[str, Any]:
        """Inputs, outputs and versions of a model."""
        return self._get(f"/v2/models/{model}")

    def server(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return self._get("/v2")

    def statistics(self, model: str) -> dict[str, Any]:
        """Counts and times of a model since it was loaded."""
        return self._get(f"/v2/models/{model}/stats")

    def parameters(self, model: str) -> dict[str, str]:
        """The `parameters` of the configuration that is loaded now; empty if the model is not loaded."""
        parameters = self._config(model).get("parameters", {})
        return {key: value.get("string_value", "") for key, value in parameters.items()}

    def route(self) -> str | None:
        """Who answers now: `champion`, `fallback`, or None if nothing is served."""
        return self._of_predictor().get("route")

    def has_fallback(self) -> bool | None:
        """Whether another model could serve in the champion's stead; None if nothing is served."""
        parameters = self._of_predictor()
        return bool(parameters.get("fallback")) if parameters else None

    def steps(self) -> dict[str, str]:
        """Step -> the model that the ensemble which is served asks for it; empty if none is served."""
        names = [step["model_name"] for step in self._config(ENSEMBLE).get("ensemble_scheduling", {}).get("step", [])]
        return {step: name for name in names if (step := step_of(name))}

    def _of_predictor(self) -> dict[str, str]:
        model = self.steps().get(PREDICTOR)
        return self.parameters(model) if model else {}

    def _config(self, model: str) -> dict[str, Any]:
        """The configuration that is loaded now; empty if the model is not loaded."""
        try:
            return self._get(f"/v2/models/{model}/config")
        except PermanentFailure:
            return {}

    def _is_ok(self, path: str) -> bool:
        try:
            with urlopen(f"{self.url}{path}", timeout=5) as answer:  # noqa: S310  # our own setting
                return bool(answer.status == 200)
        except HTTPError as error:
            error.close()  # it is an answer too, with a connection of its own
            return False
        except (URLError, OSError):
            return False

    def _get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(Request(f"{self.url}{path}"))  # noqa: S310
        return answer

    def _post(self, path: str) -> Any:
        headers = {"Content-Type": "application/json", ADMIN_HEADER: self._token}
        return self._send(Request(f"{self.url}{path}", b"{}", headers, method="POST"))  # noqa: S310

    def _send(self, request: Request, timeout: float | None = None) -> Any:
        try:
            with urlopen(request, timeout=timeout or self._timeout) as answer:  # noqa: S310
                body = answer.read()
        except HTTPError as error:
            if error.code == UNAVAILABLE:  # as the door says it while the server is away
                raise TransientFailure(f"Triton at {self.url} is away: {_said(error)}") from error
            raise PermanentFailure(f"Triton at {self.url} refused {request.selector}: {_said(error)}") from error
        except (URLError, OSError) as error:
            hint = "is it up? Try: genre-assets status"
            raise TransientFailure(f"Triton at {self.url} does not answer ({error}); {hint}") from error
        return json.loads(body) if body else None


def _said(error: HTTPError) -> str:
    with error:
        body = error.read().decode(errors="replace")
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip()[:500] or f"HTTP {error.code}"
