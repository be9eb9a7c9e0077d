"""Prometheus, Alertmanager and the node exporter as local services, from Debian's packages: `genre-assets up --observability`.

Their configuration is that of the containers (`deploy/`), with the addresses of this stack.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from genre_assets.errors import BadInput, PermanentFailure
from genre_assets.settings import Settings
from genre_assets.shipped.files import data_file
from genre_assets.stack.supervision.service import Health, Service, http_health

KEPT_TIME, KEPT_SIZE = "15d", "1GB"
COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev")


class _Packaged(Service):
    """A program of a Debian package."""

    program: ClassVar[str]
    package: ClassVar[str]
    setting: ClassVar[str]

    @property
    def folder(self) -> Path:
        """What it keeps, and its configuration."""
        return self.settings.home / "observability" / self.name

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(getattr(self.settings, self.setting))

    @property
    def ports(self) -> dict[str, int]:
        """Its one port."""
        return {self.setting: self.port}

    @property
    def listen(self) -> str:
        """Host and port."""
        return f"{self.settings.host}:{self.port}"

    def addresses(self) -> dict[str, str]:
        """Its page."""
        return {"url": f"http://{self.listen}"}

    def executable(self) -> str:
        """Where the program is. Raises `PermanentFailure` with the command that installs it."""
        found = shutil.which(self.program)
        if found is None:
            raise PermanentFailure(how_to_install([self.package]))
        return found

    def write(self, name: str, content: Mapping[str, Any]) -> Path:
        """A configuration file, for its owner alone: it may hold the address of a webhook."""
        import yaml  # not there in the container of Triton, which knows this module by its catalogue

        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / name
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(dict(content), sort_keys=False))
        return file

    def health(self) -> Health:
        """Healthy when it says that it is ready."""
        return http_health(f"http://{self.listen}/-/ready")


class Prometheus(_Packaged):
    """Scrapes the stack, and decides by the rules what is wrong."""

    name, program, package, setting = "prometheus", "prometheus", "prometheus", "prometheus_port"

    def prepare(self) -> None:
        """Write its configuration."""
        self.write("prometheus.yml", self.configuration())

    def configuration(self) -> dict[str, Any]:
        """The containers' own, with this stack's addresses; jobs of which there is none here are left out."""
        content = _read("prometheus")
        s = self.settings
        here = {
            "triton": f"{s.host}:{s.triton_metrics_port}",
            "triton-door": f"{s.host}:{s.triton_http_port}",
            "gateway": f"{s.host}:{s.gateway_port}",
            "node": f"{s.host}:{s.node_exporter_port}",
            "alertmanager": f"{s.host}:{s.alertmanager_port}",
            "prometheus": self.listen,
        }
        content["rule_files"] = [str(data_file("deploy/prometheus/rules") / "*.yml")]
        content["alerting"] = _targets("alertmanagers", here["alertmanager"])
        content["scrape_configs"] = [
            {**job, **_targets("static_configs", here[job["job_name"]], nested=False)}
            for job in content["scrape_configs"]
            if job["job_name"] in here
        ]
        return content

    def command(self) -> list[str]:
        """The server; it forgets what is older, or more, than the bounds."""
        return [
            self.executable(), f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}", f"--storage.tsdb.retention.time={KEPT_TIME}",
            f"--storage.tsdb.retention.size={KEPT_SIZE}", f"--web.listen-address={self.listen}",
        ]  # fmt: skip


class Alertmanager(_Packaged):
    """Notifies people of what Prometheus finds, by the webhook of the settings; without one it shows it on its page."""

    name, program, package = "alertmanager", "prometheus-alertmanager", "prometheus-alertmanager"
    setting = "alertmanager_port"

    def prepare(self) -> None:
        """Write its configuration."""
        self.write("alertmanager.yml", self.configuration())

    def configuration(self) -> dict[str, Any]:
        """The containers' own, with the webhook as it is: Debian's release reads none from a file."""
        content = _read("alertmanager")
        webhook = self.settings.alert_webhook.get_secret_value()
        content["receivers"] = [
            {"name": receiver["name"], **({"webhook_configs": [{"url": webhook}]} if webhook else {})}
            if "webhook_configs" in receiver
            else receiver
            for receiver in content["receivers"]
        ]
        return content

    def command(self) -> list[str]:
        """The server, alone: no cluster."""
        return [
            self.executable(), f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}", f"--web.listen-address={self.listen}", "--cluster.listen-address=",
        ]  # fmt: skip


class NodeExporter(_Packaged):
    """What Prometheus learns of the machine: its disks, memory and cores."""

    name, program, package = "node-exporter", "prometheus-node-exporter", "prometheus-node-exporter"
    setting = "node_exporter_port"

    def command(self) -> list[str]:
        """The exporter, of the few collectors that rules and panels read."""
        return [
            self.executable(), f"--web.listen-address={self.listen}", "--collector.disable-defaults",
            *(f"--collector.{name}" for name in COLLECTORS),
        ]  # fmt: skip

    def health(self) -> Health:
        """Healthy when it answers."""
        return http_health(f"http://{self.listen}/")


SERVICES: tuple[type[_Packaged], ...] = (NodeExporter, Alertmanager, Prometheus)


def require_programs() -> None:
    """Raise `BadInput` with the command that installs what is missing."""
    if missing := [service.package for service in SERVICES if shutil.which(service.program) is None]:
        raise BadInput(how_to_install(missing))


def services(settings: Settings) -> list[Service]:
    """All three, in start order; none where they are not asked for."""
    return [service(settings) for service in SERVICES] if settings.observability else []


def how_to_install(packages: list[str]) -> str:
    """What to do about missing packages. Debian starts services of its own, on ports of their own, unless told not to."""
    return (
        f"{', '.join(packages)} is not installed, which --observability needs: apt-get install -y --no-install-recommends "
        f"{' '.join(packages)} (and, where Debian starts them by itself: systemctl disable --now {' '.join(packages)}), "
        "then again; or genre-assets up --no-observability"
    )


def _read(name: str) -> dict[str, Any]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(data_file(f"deploy/{name}/{name}.yml").read_text())
    return content


def _targets(key: str, address: str, *, nested: bool = True) -> dict[str, Any]:
    static = [{"targets": [address]}]
    return {key: [{"static_configs": static}] if nested else static}
