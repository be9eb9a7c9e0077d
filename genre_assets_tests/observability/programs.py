"""Debian's programs, which `make dev` installs; and metrics as Prometheus reads them."""

import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable

import pytest
from prometheus_client.parser import text_string_to_metric_families

PACKAGES = {
    "promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager", "prometheus-node-exporter": "prometheus-node-exporter",
}  # fmt: skip


def program(name: str) -> str:
    """Where it is; the test is skipped, saying how to have it, where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return found


def run(name: str, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """One call of a program."""
    return subprocess.run([program(name), *arguments], input=text, capture_output=True, text=True, timeout=120)


def scraped(url: str) -> str:
    """The text of a metrics endpoint."""
    with urllib.request.urlopen(url if "://" in url else f"http://{url}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every value, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    """One value; None if it is absent."""
    return samples(text).get((name, frozenset(labels.items())))


def ours(text: str) -> str:
    """The lines of our own metrics: Triton's names are its own affair."""
    return "".join(f"{line}\n" for line in text.splitlines() if re.match(r"(# (HELP|TYPE) )?genre_\w+", line))


def check_names(text: str) -> None:
    """What `promtool check metrics` says of names, types and help texts: nothing."""
    done = run("promtool", "check", "metrics", text=ours(text))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def names(text: str) -> Iterable[str]:
    """The names of the series."""
    return {name for name, _ in samples(text)}
