"""Ways to reach people: a plain JSON webhook, a file, every service that Apprise knows (e-mail, Slack, PagerDuty ...).

A channel sends one message or raises `TransientFailure`; `manager` decides what is sent when, and tries again.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from genre_assets.errors import BadInput, TransientFailure
from genre_assets.settings import Settings

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Message:
    """What people are told. `kind` is opened, repeated or resolved; `severity` info, warning or error."""

    key: str
    kind: str
    severity: str
    title: str
    body: str
    links: dict[str, str] = field(default_factory=dict)
    seen: int = 1

    def as_json(self) -> dict[str, Any]:
        """As the webhook receives it."""
        return {**self.__dict__, "source": "genre_assets"}


class Channel(Protocol):
    """One way to reach people. `name` holds no secret."""

    @property
    def name(self) -> str: ...  # noqa: D102  # see the class

    def send(self, message: Message) -> None:
        """Deliver, or raise `TransientFailure`."""


class Webhook:
    """Posts the message as JSON."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadInput("GENRE_ALERT_WEBHOOK must start with http:// or https://")
        self._url = url

    def send(self, message: Message) -> None:
        """POST; any answer but 2xx is a failure."""
        body = json.dumps(message.as_json()).encode()
        request = Request(self._url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310  # the scheme was checked
                pass
        except (URLError, OSError, HTTPException) as error:
            raise TransientFailure(f"the webhook did not take the alert: {error}") from error


class File:
    """Appends the message as a line of JSON, for whoever reads files (a log shipper): `file:///var/log/alerts.jsonl`."""

    def __init__(self, url: str, number: int = 1) -> None:
        address = urlsplit(url)
        if address.netloc or not address.path:
            raise BadInput(
                "GENRE_ALERT_URLS: a file needs its whole path, with three slashes: file:///var/log/alerts.jsonl"
            )
        self._path = Path(unquote(address.path))
        self.name = f"file-{number}"

    def send(self, message: Message) -> None:
        """Append; a file that cannot be written is a failure."""
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(message.as_json()) + "\n")
        except OSError as error:
            raise TransientFailure(f"{self.name} did not take the alert: {error}") from error


class Apprise:
    """One Apprise URL, such as `mailto://...` or `slack://...`."""

    def __init__(self, url: str, number: int = 1) -> None:
        self._url = url
        self.name = f"{url.partition('://')[0]}-{number}"

    def send(self, message: Message) -> None:
        """Send through Apprise, which says no more than whether it worked. Its warnings are its own."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import apprise

            target = apprise.Apprise()
            if not target.add(self._url):
                raise TransientFailure(f"Apprise does not understand the {self.name} address in GENRE_ALERT_URLS")
            kinds = {"info": apprise.NotifyType.INFO, "warning": apprise.NotifyType.WARNING}
            kind = kinds.get(message.severity, apprise.NotifyType.FAILURE)
            if message.kind == "resolved":
                kind = apprise.NotifyType.SUCCESS
            links = "\n".join(f"{name}: {url}" for name, url in message.links.items())
            title = f"[{message.kind}] {message.title}"
            if not target.notify(title=title, body=f"{message.body}\n\n{links}", notify_type=kind):
                raise TransientFailure(f"{self.name} did not take the alert")


OWN: Mapping[str, Callable[[str, int], Channel]] = {"file": File}
"""The channels of our own in `GENRE_ALERT_URLS`, by scheme; an address with any other scheme is Apprise's."""


def from_settings(settings: Settings) -> list[Channel]:
    """Every channel that the settings name; none is fine: alerts are then kept and shown, not sent."""
    urls = settings.alert_urls.get_secret_value().split()
    channels: list[Channel] = [OWN.get(url.partition("://")[0], Apprise)(url, n) for n, url in enumerate(urls, 1)]
    if webhook := settings.alert_webhook.get_secret_value():
        channels.append(Webhook(webhook))
    return channels
