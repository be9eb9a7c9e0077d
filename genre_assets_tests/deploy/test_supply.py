"""What is installed and who builds it: the list of components, what is said of their known holes, and the workflows."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from genre_assets.shipped.files import PROJECT_ROOT
from genre_assets_tests.reliability.page import missing_tests
from genre_assets_tests.reliability.row import Row

WORKFLOWS = {path.stem: path.read_text() for path in sorted((PROJECT_ROOT / ".github" / "workflows").glob("*.yml"))}
BIN = Path(sys.executable).parent


def components(tmp_path: Path) -> dict[str, Any]:
    """What `make sbom` writes."""
    (line,) = re.findall(r"\$\(BIN\)/(uv export .*) -o sbom.json", (PROJECT_ROOT / "Makefile").read_text())
    subprocess.run([BIN / "uv", *line.split()[1:], "-o", tmp_path / "sbom.json"], cwd=PROJECT_ROOT, check=True)
    written: dict[str, Any] = json.loads((tmp_path / "sbom.json").read_text())
    return written


def test_what_the_vex_names_is_in_the_list_of_components(tmp_path: Path) -> None:
    """In the version that was looked at: another one is looked at anew."""
    sbom, vex = components(tmp_path), json.loads((PROJECT_ROOT / "deploy" / "vex.json").read_text())
    assert {(one["bomFormat"], one["specVersion"]) for one in (sbom, vex)} == {("CycloneDX", "1.5")}
    listed = {component["purl"] for component in sbom["components"] if "purl" in component}
    assert len(listed) > 150
    named = {component["purl"] for component in vex["components"]}
    assert named <= listed, "look again at what is said of it, and name the version that is installed now"
    assert {purl.rpartition("@")[0].rpartition("/")[2] for purl in named} == {
        "nvidia-pytriton",
        "soundfile",
        "av",
        "mlflow",
    }
    for hole in vex["vulnerabilities"]:
        analysis = hole["analysis"]
        assert {one["ref"] for one in hole["affects"]} <= named
        assert analysis["state"] in {"not_affected", "in_triage", "exploitable"}
        assert ("justification" in analysis) is (analysis["state"] == "not_affected")
        assert len(analysis["detail"]) > 40
        tests = tuple(re.findall(r"genre_assets_tests/(\S+::\w+)", analysis["detail"]))
        assert missing_tests([Row("", "", "", tests)]) == []


def test_every_action_is_pinned_by_its_hash_and_no_workflow_may_more_than_it_needs() -> None:
    assert {"ci", "audit", "compose", "docs", "release"} == WORKFLOWS.keys()
    for name, text in WORKFLOWS.items():
        used = re.findall(r"uses: (\S+)( # v[\d.]+)?", text)
        assert used
        for action, version in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), (name, action)
            assert version, f"{name}: {action} of which version?"
        content = yaml.safe_load(text)
        assert content["permissions"] == {"contents": "read"}
        for job, said in content["jobs"].items():
            writes = {scope for scope, may in said.get("permissions", {}).items() if may == "write"}
            assert not writes or name == "release" or (name, job) == ("docs", "publish"), (name, job)
            assert said["timeout-minutes"] <= 120
    found = subprocess.run(
        [BIN / "zizmor", "--offline", "-q", PROJECT_ROOT / ".github"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout


def test_check_looks_at_the_code_the_workflows_and_the_image() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    check = makefile.partition("\ncheck: ")[2].partition("\n\n")[0].partition("\ntest: ")[0]
    for program in ("bandit", "zizmor", "hadolint"):
        assert f"$(BIN)/{program} " in check
        assert (BIN / program).exists(), program
