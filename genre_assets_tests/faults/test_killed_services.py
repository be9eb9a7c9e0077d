"""What happens at night: services of the running stack are killed, one after the other."""

from collections.abc import Callable

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from genre_assets.database import Database
from genre_assets.demo.instruments import RATE
from genre_assets.demo.synthetic import compose
from genre_assets.demo.traffic import wav_bytes
from genre_assets.errors import TransientFailure
from genre_assets_tests.live import Stack
from genre_assets_tests.waiting import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]


@pytest.fixture
def ask(stack: Stack) -> Callable[[str], str]:
    """Ask the ensemble about one clip; returns the label."""
    clip = wav_bytes(compose("disco", 903, seed=1, seconds=4).astype(np.float32), RATE)

    def infer(request_id: str) -> str:
        audio = tritonclient.grpc.InferInput("AUDIO", [1, 1], "BYTES")
        audio.set_data_from_numpy(np.array([[clip]], dtype=object))
        with tritonclient.grpc.InferenceServerClient(stack.settings.triton_grpc) as client:
            answer = client.infer("genre_ensemble", [audio], request_id=request_id, client_timeout=20)
        assert answer.as_numpy("ERROR").item() == b""
        label: str = answer.as_numpy("LABEL").item().decode()
        return label

    return infer


def all_healthy(stack: Stack) -> bool:
    return stack.command("status", check=False).returncode == 0


def test_a_dead_database_costs_neither_an_answer_nor_a_row(stack: Stack, ask: Callable[[str], str]) -> None:
    stack.kill("postgres")
    labels = {ask(f"outage-{number}") for number in range(5)}
    assert len(labels) == 1
    database = Database(stack.settings.database_url.get_secret_value())

    def logged() -> bool:
        try:
            rows = database.rows("SELECT request_id FROM served_requests WHERE request_id LIKE 'outage-%'")
        except TransientFailure:
            return False
        return sorted(row["request_id"] for row in rows) == [f"outage-{number}" for number in range(5)]

    until(logged, "each answer logged once", 90)
    until(lambda: all_healthy(stack), "every service healthy again", 90)


def test_a_killed_triton_comes_back_with_the_same_route(stack: Stack, ask: Callable[[str], str]) -> None:
    before = ask("before")
    stack.kill("triton")

    def answers() -> bool:
        try:
            return ask("after") == before
        except InferenceServerException:
            return False

    until(answers, "Triton answers again", 90)
    assert stack.json("status", "--json")["route"] == "champion"


def test_a_killed_door_is_back_in_seconds_and_triton_did_not_notice(stack: Stack, ask: Callable[[str], str]) -> None:
    before = ask("before")
    restarts = stack.json("status", "--json")["services"]["triton"]["restarts"]
    stack.kill("triton-door")

    def answers() -> bool:
        try:
            return ask("after") == before
        except InferenceServerException:
            return False

    until(answers, "the door is open again", 30)
    until(lambda: all_healthy(stack), "every service healthy again", 90)
    assert stack.json("status", "--json")["services"]["triton"]["restarts"] == restarts


def test_the_object_store_and_the_daemon_come_back_too(stack: Stack) -> None:
    for service in ("s3", "dagster-daemon", "dagster-code"):
        stack.kill(service)
    until(lambda: all_healthy(stack), "every service healthy again", 180)
    assert stack.json("status", "--json")["services"]["s3"]["restarts"] >= 1
