"""A container engine of its own for the tests of docker-compose.yaml: Debian's packages unpacked into a folder, a daemon in a
network namespace of its own, and a user-space way out. Nothing is installed, and no firewall rule of the machine is touched.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "genrecompose"
PACKAGES = (
    "docker.io", "containerd", "runc", "iptables", "libip6tc2", "libnfnetlink0", "libnetfilter-conntrack3", "libnftnl11",
    "tini", "slirp4netns", "libslirp0", "debootstrap",
)  # fmt: skip
# Debian 12 has none of the second version; these ask for no newer C library than it has.
PLUGINS = ("docker-compose", "docker-buildx")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
NEEDED = ("apt-get", "dpkg", "ip", "nsenter", "mount")


def missing() -> str:
    """Why no engine can be had here; empty if it can."""
    if os.geteuid() != 0:
        return "an engine needs root"
    if absent := [program for program in NEEDED if shutil.which(program) is None]:
        return f"an engine needs {', '.join(absent)}"
    if not Path(KEYRING).exists():
        return "the engine is made of Debian's packages, and this is no Debian"
    return ""


@dataclass(frozen=True)
class Engine:
    """The daemon that runs out of `root`, and commands that ask it."""

    root: Path

    @property
    def tree(self) -> Path:
        """The unpacked packages of the daemon."""
        return self.root / "tree"

    def variables(self) -> dict[str, str]:
        """The environment of every command; none of the caller's settings is in it."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("GENRE_", "COMPOSE_"))}
        tree = self.tree / "usr"
        return {
            **outside,
            "PATH": f"{tree}/sbin:{tree}/bin:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{tree}/lib/x86_64-linux-gnu",
            "XTABLES_LIBDIR": f"{tree}/lib/x86_64-linux-gnu/xtables",
            "DOCKER_HOST": f"unix://{self.root}/sock",
            "DOCKER_CONFIG": str(self.root / "config"),
            "DOCKER_BUILDKIT": "1",
        }

    def run(self, *command: str, timeout: float = 600, check: bool = True, **options: object) -> str:
        """Standard output of a command in the engine's network; what it said is in the error if it fails."""
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{NAMESPACE}", *command],
            env=self.variables(), capture_output=True, text=True, timeout=timeout, **options,  # type: ignore[call-overload]
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-6000:]}"
            )
        return str(done.stdout)

    def docker(self, *arguments: str, timeout: float = 600, check: bool = True, **options: object) -> str:
        """The same of `docker`."""
        return self.run("docker", *arguments, timeout=timeout, check=check, **options)

    def import_tree(self, folder: Path, image: str, *options: str) -> None:
        """Make an image of a folder."""
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
            self.docker("import", *options, "-", image, stdin=tar.stdout)
        assert tar.returncode == 0

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return bool(self.docker("images", "-q", image).strip())


def fetch(root: Path) -> None:
    """Download and unpack the engine, unless that was done."""
    if (root / "config" / "cli-plugins" / "docker-compose").exists():
        return
    bookworm, trixie = root / "debs", root / "plugins"
    _download(bookworm, f"deb [signed-by={KEYRING}] {MIRROR} bookworm main", PACKAGES)
    _download(trixie, f"deb [signed-by={KEYRING}] {MIRROR} trixie main", PLUGINS)
    for folder, target in ((bookworm, root / "tree"), (trixie, root / "plugins" / "tree")):
        target.mkdir(parents=True, exist_ok=True)
        for deb in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", deb, target], check=True)
    plugins = root / "config" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    for name in ("iptables", "ip6tables"):
        link = root / "tree" / "usr" / "sbin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("xtables-nft-multi")
    for name in PLUGINS:
        shutil.copy2(root / "plugins" / "tree" / "usr" / "libexec" / "docker" / "cli-plugins" / name, plugins / name)


def _download(folder: Path, source: str, packages: tuple[str, ...]) -> None:
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"{source}\n")
    private = [
        "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
        "-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache", "-o", "APT::Sandbox::User=",
    ]  # fmt: skip
    subprocess.run(["apt-get", "-qq", *private, "update"], check=True, cwd=folder)
    subprocess.run(["apt-get", "-qq", *private, "download", *packages], check=True, cwd=folder)


@contextmanager
def running(root: Path) -> Iterator[Engine]:
    """The engine of `root`, until the end of the block; images and volumes stay in the folder."""
    engine = Engine(root)
    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True)
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    network = f"/run/netns/{NAMESPACE}"
    subprocess.run(["nsenter", f"--net={network}", "ip", "link", "set", "lo", "up"], check=True)
    processes = [
        _start(engine, "slirp4netns", "--configure", "--mtu=1500", "--disable-host-loopback", "--netns-type=path", network, "tap0"),
        _start(
            engine, "nsenter", f"--net={network}", "nice", "-n", "10", "dockerd", "--data-root", f"{root}/data",
            "--exec-root", f"{root}/run", "-p", f"{root}/pid", "-H", f"unix://{root}/sock",
            "--init-path", f"{engine.tree}/usr/bin/tini", "--dns", "10.0.2.3",
        ),
    ]  # fmt: skip
    try:
        until(
            lambda: bool(engine.docker("version", "--format", "{{.Server.Version}}", check=False).strip()),
            60,
            "the daemon",
        )
        yield engine
    finally:
        for process in reversed(processes):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
        subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True)


def _start(engine: Engine, *command: str) -> "subprocess.Popen[bytes]":
    name = "dockerd" if "dockerd" in command else command[0]
    with (engine.root / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, env=engine.variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def until(question: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it is so; returns after how many seconds it was."""
    began = time.monotonic()
    while not question():
        assert time.monotonic() - began < seconds, f"{what}: not so after {seconds:.0f} s"
        time.sleep(1)
    return time.monotonic() - began
