"""One contract for every channel: what is sent arrives, a target that is away is a failure to try again, no secret shows."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from genre_assets.errors import BadInput, TransientFailure
from genre_assets.serving.alerts import channels
from genre_assets.serving.alerts.channels import OWN, Apprise, Channel, File, Message, Webhook
from genre_assets.settings import load_settings
from genre_assets_tests.receiver import receiving
from genre_assets_tests.serving.alerts.mailbox import mail_url, mailbox

MESSAGE = Message("route", "opened", "error", "the fallback serves", "2 of 3 drifted", {"run": "http://r"})
Arrived = Callable[[], str]


@dataclass(frozen=True)
class Way:
    """A channel with a way to read what arrived, and the same kind of channel with nobody at its other end."""

    working: Callable[[Path], AbstractContextManager[tuple[Channel, Arrived]]]
    away: Callable[[Path], Channel]


@contextmanager
def _webhook(_: Path) -> Iterator[tuple[Channel, Arrived]]:
    with receiving() as receiver:
        yield Webhook(receiver.url), lambda: json.dumps(receiver.got)


@contextmanager
def _file(folder: Path) -> Iterator[tuple[Channel, Arrived]]:
    path = folder / "the alerts.jsonl"
    yield File(path.as_uri()), path.read_text


@contextmanager
def _mail(_: Path) -> Iterator[tuple[Channel, Arrived]]:
    with mailbox() as box:
        yield Apprise(box.url), lambda: "\n".join(box.mails)


WAYS = {
    "webhook": Way(_webhook, lambda _: Webhook("http://127.0.0.1:9/hush")),
    "file": Way(_file, lambda folder: File((folder / "hush" / "alerts.jsonl").as_uri())),
    "mail": Way(_mail, lambda _: Apprise(mail_url(9))),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def test_every_channel_of_our_own_keeps_the_contract() -> None:
    assert set(OWN) <= set(WAYS)


@every_way
def test_what_is_sent_arrives(way: Way, tmp_path: Path) -> None:
    with way.working(tmp_path) as (channel, arrived):
        channel.send(MESSAGE)
        channel.send(Message("route", "resolved", "info", "the champion serves", ""))
        for text in ("the fallback serves", "2 of 3 drifted", "http://r", "the champion serves", "resolved"):
            assert text in arrived()


@every_way
def test_a_target_that_is_away_is_a_failure_to_try_again(way: Way, tmp_path: Path) -> None:
    channel = way.away(tmp_path)
    with pytest.raises(TransientFailure, match=channel.name):
        channel.send(MESSAGE)
    assert "hush" not in channel.name


def test_a_line_of_the_file_is_what_the_webhook_receives(tmp_path: Path) -> None:
    with _file(tmp_path) as (channel, arrived):
        channel.send(MESSAGE)
        assert [json.loads(line) for line in arrived().splitlines()] == [MESSAGE.as_json()]


def test_mail_reaches_whom_the_address_names() -> None:
    with mailbox() as box:
        Apprise(box.url).send(MESSAGE)
        (mail,) = box.mails
    assert "team@example.org" in mail


def test_channels_come_from_the_settings_and_their_names_hold_no_secret(tmp_path: Path) -> None:
    settings = load_settings(
        tmp_path,
        alert_urls=SecretStr("mailto://u:hush@example.org slack://hush-token/b/c file:///hush/alerts.jsonl"),
        alert_webhook=SecretStr("http://127.0.0.1:1/hush"),
    )
    names = [channel.name for channel in channels.from_settings(settings)]
    assert names == ["mailto-1", "slack-2", "file-3", "webhook"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Webhook("ftp://example.org"), "GENRE_ALERT_WEBHOOK"),
        (lambda: File("file://alerts.jsonl"), "three slashes"),
        (lambda: File("file://"), "three slashes"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_with_what_to_write(make: Callable[[], Channel], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        make()
