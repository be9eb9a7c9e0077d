"""A storm on a stack of its own: started, built on a small synthetic set, struck, calmed, measured, taken down."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from genre_assets.demo.synthetic import write_sample_set
from genre_assets.settings import load_settings
from genre_assets_tests.faults.storm.report import Result, markdown, read, together, write
from genre_assets_tests.faults.storm.strike import Storm, folders
from genre_assets_tests.faults.storm.workload import Commands, Predictor
from genre_assets_tests.live import COMMAND, ROOT, environment


def main() -> None:
    """Exit code 1 if something did not hold."""
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="genre-storm-") as temporary:
        folder = asked.home or Path(temporary)
        variables = {**environment(folder / "home"), "GENRE_PORT_OFFSET": str(asked.port_offset)}
        try:
            write_sample_set(folder / "audio", seed=7, each=4)
            _run(variables, "demo", "--audio", str(folder / "audio"))
            passed = _storm(asked, folder, variables)
        finally:
            _run(variables, "down")
    sys.exit(0 if passed else 1)


def _storm(asked: argparse.Namespace, folder: Path, variables: dict[str, str]) -> bool:
    os.environ.update({name: value for name, value in variables.items() if name.startswith("GENRE_")})
    settings = load_settings(folder / "home")
    predictor = Predictor(settings.triton_grpc, folder / "audio", seed=asked.seed)
    commands = Commands(COMMAND, variables, folders(folder / "audio", folder / "more"), seed=asked.seed)
    storm = Storm(settings, predictor, commands, seed=asked.seed)
    earlier = read(asked.output) if asked.add else None
    asked_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_end.set())

    def keep(result: Result) -> None:
        write(result if earlier is None else together(earlier, result), asked.output)

    predictor.start()
    commands.start()
    end = time.monotonic() + 60 * asked.minutes
    try:
        while len(storm.result.outcomes) < asked.kills and time.monotonic() < end and not asked_to_end.is_set():
            outcome = storm.strike(storm.draw())
            if outcome is not None:
                healed = "NOT healed" if outcome.seconds is None else f"healed in {outcome.seconds:.1f} s"
                print(f"{outcome.number:4} {time.strftime('%H:%M:%S')} {outcome.kind}: {healed}", flush=True)
                keep(storm.result)
        result = storm.calm()
    finally:
        storm.end()
    keep(result)
    print(markdown(result))
    return result.passed


def _run(variables: dict[str, str], *words: str) -> None:
    subprocess.run([COMMAND, *words], env=variables, check=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genre_assets_tests.faults.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=300, help="faults to make")
    parser.add_argument("--minutes", type=float, default=240, help="make no more faults after so long")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the workload")
    parser.add_argument(
        "--add", action="store_true", help="add to the storms that --output holds; Ctrl-C ends one early"
    )
    parser.add_argument("--home", type=Path, help="folder of the stack and its audio, kept; default: a temporary one")
    parser.add_argument("--port-offset", type=int, default=710, help="GENRE_PORT_OFFSET of the stack")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "reliability_faults", help="writes this with .json and .md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
