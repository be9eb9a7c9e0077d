"""Create or refresh `.venv` from uv.lock; with `--dev`, also what the tests and checks need.

Runs on a bare Python 3.11 to 3.13 (standard library only), with or without pip, root or not. uv is taken from PATH,
or from `.venv`, or is installed there: by pip where there is one, else as the wheel that PyPI's index names, checked
against the hash in uv.lock.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from genre_assets.errors import GenreError  # noqa: E402  # nothing is installed yet
from genre_assets.shipped.wheels import fetch, fitting, locked, unpack  # noqa: E402

VENV = ROOT / ".venv"
SUPPORTED = ((3, 11), (3, 13))
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
# Of Debian, for the tests of rules and alerts: package -> a program of it.
OBSERVABILITY = {
    "prometheus": "promtool",
    "prometheus-alertmanager": "amtool",
    "prometheus-node-exporter": "prometheus-node-exporter",
}


def main() -> None:
    dev = "--dev" in sys.argv or (VENV / ".dev").exists()
    python = find_python()
    environment = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": str(VENV),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_COMPILE_BYTECODE": "1",  # a stack is a dozen processes, and each run one more: compile once
    }
    command = [str(find_uv(python)), "sync", "--frozen", "--python", python]
    if dev:
        command += ["--all-extras", "--group", "dev"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    (VENV / ".setup").touch()
    if dev:
        (VENV / ".dev").touch()
        install_packages()


def find_python() -> str:
    """The interpreter that runs this, if it fits, else one on PATH that does."""
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return getattr(sys, "_base_executable", sys.executable)
    for minor in range(SUPPORTED[1][1], SUPPORTED[0][1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    sys.exit(f"Python 3.11 to 3.13 is needed, this is {platform.python_version()}: apt-get install python3.11")


def find_uv(python: str) -> Path:
    """Find uv on PATH or in .venv; put it there if it is in neither."""
    inside = VENV / "bin" / "uv"
    if inside.exists():
        return inside
    on_path = shutil.which("uv")
    if on_path:
        return Path(on_path)
    if not (VENV / "bin" / "python").exists():
        with_pip = subprocess.run([python, "-m", "venv", str(VENV)], capture_output=True, text=True)
        if with_pip.returncode:  # Debian without python3-venv has no ensurepip
            subprocess.run([python, "-m", "venv", "--clear", "--without-pip", str(VENV)], check=True)
    inside_python = str(VENV / "bin" / "python")
    version = locked_version()
    has_pip = subprocess.run([inside_python, "-m", "pip", "--version"], capture_output=True).returncode == 0
    if has_pip:
        subprocess.run([inside_python, "-m", "pip", "install", "--quiet", f"uv=={version}"], check=True)
    else:
        unpack_uv(inside)
    return inside


def locked_version() -> str:
    """The version of uv in uv.lock."""
    return locked((ROOT / "uv.lock").read_text(), "uv")[0].version


def unpack_uv(target: Path) -> None:
    """The uv program out of its locked wheel, for a Python that has no pip."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            archive = fetch(fitting(locked((ROOT / "uv.lock").read_text(), "uv")), Path(folder), print)
        except GenreError as error:
            sys.exit(str(error))
        content = Path(folder) / "uv"
        unpack(archive, content)
        next(content.glob("*.data/scripts/uv")).replace(target)


def install_packages() -> None:
    """Debian's Chromium, Prometheus and Alertmanager; their tests skip, and say so, where they cannot be installed."""
    missing = [] if any(map(shutil.which, CHROMIUM)) else ["chromium"]
    missing += [package for package, program in OBSERVABILITY.items() if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        # With systemd nothing is started: the tests start their own, on ports of their own.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            done = subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL)
            if done.returncode:
                break
        else:
            return
    names = " ".join(missing)
    print(f"not installed: {names}: their tests will be skipped (as root: apt-get install {names})", file=sys.stderr)


if __name__ == "__main__":
    main()
