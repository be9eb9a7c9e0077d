"""Many schedules over all cores."""

import gc
import multiprocessing

from genre_assets_tests.simulator.schedule import Violated, simulator

CHUNK = 500


def play(seeds: range) -> tuple[int, str]:
    """Run the schedules of these seeds; returns the moves made, and what was violated first (empty: nothing)."""
    moves = 0
    with simulator() as made:
        gc.freeze()  # what is imported lives on: to look through it for garbage costs a twentieth of the time
        for seed in seeds:
            try:
                world = made.run(seed)
            except Violated as error:
                return moves, str(error)
            moves += len(world.database.table("audit"))
    return moves, ""


def play_all(first: int, schedules: int, processes: int) -> tuple[int, int, str]:
    """Over all cores; returns schedules and moves done, and what was violated first."""
    chunks = [range(start, min(start + CHUNK, first + schedules)) for start in range(first, first + schedules, CHUNK)]
    done = moves = 0
    with multiprocessing.get_context("spawn").Pool(min(processes, len(chunks))) as pool:
        for chunk, (made, violated) in zip(chunks, pool.imap(play, chunks), strict=True):
            if violated:
                return done, moves, violated
            done, moves = done + len(chunk), moves + made
    return done, moves, ""
