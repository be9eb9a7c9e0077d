"""The supervisor notifies people itself: nothing that it watches is needed for it."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from genre_assets.serving.alerts.channels import Message
from genre_assets.serving.alerts.listing import supervisors_file
from genre_assets.stack.supervision.notifier import Notifier
from genre_assets_tests.receiver import receiving
from genre_assets_tests.waiting import until


@dataclass(frozen=True)
class Standing:
    state: str
    why: str = ""
    restarts: int = 0
    last_restart: str = ""


def test_people_are_notified_without_any_other_service(tmp_path: Path) -> None:
    from genre_assets.serving.alerts.channels import Webhook
    from genre_assets_tests.conftest import free_port

    port = free_port()
    notifier = Notifier(tmp_path, [Webhook(f"http://127.0.0.1:{port}/")], repeat=timedelta(seconds=100))
    notifier.start()
    down, well = {"postgres": Standing("unknown", "no answer in 9 s")}, {"postgres": Standing("healthy")}
    notifier.look(down, now=1000.0)
    notifier.look(well, now=1005.0)  # a restart is nobody's business
    notifier.look(down, now=1010.0)
    notifier.look(down, now=1030.0)
    notifier.look(down, now=1031.0)
    assert '"resolved_at": null' in supervisors_file(tmp_path).read_text()
    with receiving(port) as receiver:  # it comes up only now: the message waits for it
        until(lambda: [m["kind"] for m in receiver.got] == ["opened"], "told when it opened", 30)
        notifier.look(down, now=1140.0)
        notifier.look(well, now=1150.0)
        until(lambda: [m["kind"] for m in receiver.got] == ["opened", "repeated", "resolved"], "told in order", 30)
        assert "no answer in 9 s" in receiver.got[0]["body"]
    assert '"resolved_at": null' not in supervisors_file(tmp_path).read_text()


def test_one_alert_names_the_cause_and_what_is_away_for_it_has_none_of_its_own(tmp_path: Path) -> None:
    from genre_assets.stack.services.triton_door import TritonDoor

    needs = {TritonDoor.name: TritonDoor.needs}
    notifier = Notifier(tmp_path, [])
    well, dead = Standing("healthy"), Standing("unhealthy", "it does not answer")
    for now in range(1000, 1040):  # the door's light notices a little earlier
        notifier.look({"triton": well if now < 1003 else dead, "triton-door": dead}, now=now, needs=needs)
    assert [alert.key for alert in notifier.alerts] == ["service:triton"]
    assert notifier.alerts[0].body == "for 15 s: it does not answer (and without it triton-door)"
    for now in range(1040, 1060):  # Triton is back, and the door a moment later
        notifier.look({"triton": well, "triton-door": dead if now < 1050 else well}, now=now, needs=needs)
    assert [(alert.key, alert.resolved_at) for alert in notifier.alerts] == [("service:triton", 1040)]
    for now in range(1060, 1080):  # the door alone is its own fault
        notifier.look({"triton": well, "triton-door": dead}, now=now, needs=needs)
    assert [alert.key for alert in notifier.alerts] == ["service:triton", "service:triton-door"]


def test_a_service_whose_process_ends_is_told_though_another_is_away(tmp_path: Path) -> None:
    notifier = Notifier(tmp_path, [])
    standings = {"triton": Standing("unhealthy", "it hangs"), "triton-door": Standing("failed", "its port is taken")}
    for now in range(1000, 1040):
        notifier.look(standings, now=now, needs={"triton-door": ("triton",)})
    assert [alert.key for alert in notifier.alerts] == ["service:triton-door", "service:triton"]


def test_a_new_supervisor_goes_on_with_the_open_alerts(tmp_path: Path) -> None:
    """What opened under the one that was killed is repeated and resolved by the next, not opened again."""
    from genre_assets.serving.alerts.channels import Webhook

    Notifier(tmp_path, [], grace=0).look({"s3": Standing("unhealthy", "access denied")}, now=1000.0)
    with receiving() as receiver:
        notifier = Notifier(tmp_path, [Webhook(receiver.url)], grace=0)
        notifier.start()
        for state, at in (("waiting", 1010.0), ("unhealthy", 1011.0), ("healthy", 1020.0)):
            notifier.look({"s3": Standing(state)}, now=at)
        until(lambda: len(receiver.got) > 0, "told", 30)
        assert receiver.kinds() == [("resolved", "service:s3")]
    assert [(a.opened_at, a.resolved_at) for a in notifier.alerts] == [(1000.0, 1020.0)]


def test_what_a_channel_raises_ends_no_later_message(tmp_path: Path) -> None:
    class Broken:
        name = "broken"
        got: list[str] = []  # noqa: RUF012  # one instance

        def send(self, message: Message) -> None:
            self.got.append(message.kind)
            if len(self.got) == 1:
                raise ValueError("a fault of its library")

    channel = Broken()
    notifier = Notifier(tmp_path, [channel], grace=0)
    notifier.start()
    notifier.look({"s3": Standing("failed")}, now=1000.0)
    until(lambda: channel.got == ["opened", "opened"], "sent again", 30)


def test_a_service_that_is_restarted_again_and_again_is_told(tmp_path: Path) -> None:
    notifier = Notifier(tmp_path, [])
    for count in range(5):
        notifier.look({"triton": Standing("healthy", restarts=count, last_restart="it hung")}, now=1000.0 + count)
    assert [(a.key, a.resolved_at) for a in notifier.alerts] == [("restarts:triton", None)]
    notifier.look({"triton": Standing("healthy", restarts=4)}, now=5000.0)
    assert notifier.alerts[0].resolved_at == 5000.0
