"""Run schedules: `python -m genre_assets_tests.simulator --schedules 100000`; a failing seed again: `--seed 4711 --schedules 1`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from genre_assets_tests.simulator.campaign import play_all
from genre_assets_tests.simulator.schedule import STEPS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m genre_assets_tests.simulator", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    began = time.monotonic()
    done, moves, violated = play_all(given.seed, given.schedules, given.processes)
    print(
        f"{done} schedules of {STEPS[0]} to {STEPS[1]} steps under faults, {moves} moves, {time.monotonic() - began:.0f} s"
    )
    if violated:
        print(
            f"{violated}\nagain: python -m genre_assets_tests.simulator --schedules 1 --seed {violated.split()[1][:-1]}"
        )
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
