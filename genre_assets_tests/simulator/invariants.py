"""What must hold after every step of every schedule, and what must hold when the faults have stopped.

`ALWAYS` is looked at whenever something was committed; `IN_THE_END` when nothing fails any more and every process has
had its turn. `docs/reliability.md` lists them by their first lines.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from genre_assets_tests.simulator.world import World

Invariant = Callable[[World], str | None]


def one_move_is_open_at_most(world: World) -> str | None:
    """At most one move of the route is open."""
    found = _due(world)
    return f"{len(found)} moves are open" if len(found) > 1 else None


def every_booked_move_is_audited_once(world: World) -> str | None:
    """Every move that was made has exactly one audit row, and every audit row a move."""
    booked = [(m["moved_from"], m["route"], m["actor"], m["reason"]) for m in _booked(world) if m["moved_from"]]
    told = [(row["moved_from"], row["moved_to"], row["actor"], row["reason"]) for row in _moves(world)]
    return f"booked {booked}, audited {told}" if sorted(booked) != sorted(told) else None


def moves_follow_one_another(world: World) -> str | None:
    """Each move starts where the one before it ended, and goes somewhere else."""
    moves = _moves(world)
    broken = [(a, b) for a, b in pairwise(moves) if a["moved_to"] != b["moved_from"]]
    still = [move for move in moves if move["moved_from"] == move["moved_to"]]
    return f"{broken or still}" if broken or still else None


def drift_moves_have_their_evidence(world: World) -> str | None:
    """The drift moves to the fallback only by enough drifted windows of the champion, and back only by clean ones."""
    settings = world.settings
    levels: dict[str, Any] = {}
    for move in world.database.table("route_state"):
        if move["actor"] != "drift":
            continue
        levels = levels or {w["id"]: (w["route"], w["level"]) for w in world.database.table("drift_windows")}
        windows = [levels.get(name) for name in move["evidence"]["windows"]]
        away = move["route"] == "fallback"
        wanted = (move["moved_from"], "detected" if away else "ok")
        if len(windows) < (settings.bad_windows if away else settings.clean_windows) or set(windows) != {wanted}:
            return f"{move} on {windows}"
    return None


def the_drift_never_moves_what_is_pinned(world: World) -> str | None:
    """While a person has pinned what serves, no move of the drift's is open."""
    booked = _booked(world)
    if not booked or not booked[-1]["pinned"]:
        return None
    due = [move for move in _due(world) if move["actor"] == "drift"]
    return f"{due} while {booked[-1]} is pinned" if due else None


def the_fallback_dwells(world: World) -> str | None:
    """The drift brings the champion back only when the fallback has served for the minimum dwell."""
    settings = world.settings
    dwell = timedelta(seconds=settings.min_dwell_seconds)
    before: Any = None
    for move in world.database.table("route_state"):
        if move["dropped_at"] is not None:
            continue
        back = move["actor"] == "drift" and move["route"] == "champion"
        if back and before and move["decided_at"] - before["switched_at"] < dwell:
            return f"{move} after {before}"
        before = move if move["switched_at"] else before
    return None


def windows_do_not_overlap(world: World) -> str | None:
    """Windows follow one another in the order of the log, without a row in two of them."""
    windows = sorted(world.database.table("drift_windows"), key=lambda w: (w["closed_at"], w["last_id"]))
    for a, b in pairwise(windows):
        if (b["opened_at"], b["first_id"]) <= (a["closed_at"], a["last_id"]):
            return f"{a['id']} and {b['id']}"
    return None


def windows_hold_one_model(world: World) -> str | None:
    """A window counts items of one route and version, of which some answered."""
    for window in world.database.table("drift_windows"):
        if (window["route"], window["version"]) not in world.by_version or window["items"] > window["rows"]:
            return str(window)
    return None


def verdicts_are_kept(world: World) -> str | None:
    """A window is judged once: its verdict never changes."""
    known = world.verdicts
    for window in world.database.table("drift_windows"):
        verdict = (window["judged_at"], window["level"])
        if window["judged_at"] is None and window["id"] not in known:
            continue
        if known.setdefault(window["id"], verdict) != verdict:
            return f"{window} was {known[window['id']]}"
    return None


def no_row_is_doubled_nor_made_up(world: World) -> str | None:
    """Each item is one row at most, and each row an item that somebody asked."""
    ids = [row["id"] for row in world.database.table("served_requests")]
    different = set(ids)
    if len(ids) != len(different):
        return "an item has two rows"
    return f"rows of nobody: {different - world.asked}" if not different <= world.asked else None


def one_alert_is_open_for_a_key(world: World) -> str | None:
    """An alert is open once, and every message belongs to one."""
    open_ = [row["key"] for row in world.database.table("alerts") if row["resolved_at"] is None]
    return f"open: {open_}" if len(open_) != len(set(open_)) else None


def people_hear_of_a_move_once(world: World) -> str | None:
    """A move to the fallback opens one alert, however many daemons tell of it."""
    moves = sum(move["moved_to"] == "fallback" for move in _moves(world))
    opened = sum(row["key"] == "route" for row in world.database.table("alerts"))
    return f"{opened} alerts for {moves} moves to the fallback" if opened > moves else None


def what_serves_is_released(world: World) -> str | None:
    """Whoever answers, answers with a version and a route of one release."""
    roles = {(route, version) for release in world.releases.values() for route, version in release.roles.items()}
    return f"{world.by_version - roles}" if not world.by_version <= roles else None


def books_files_and_server_agree(world: World) -> str | None:
    """In the end books, files and server say the same route, and no move is due."""
    booked = _booked(world)
    books = booked[-1]["route"] if booked else None
    due = _due(world)
    server = world.server.loaded.get("predictor", {}).get("route")
    if due or not books == world.files.route == server:
        return f"books {books}, files {world.files.route}, server {server}, due {due}"
    return None


def every_answer_is_a_row_or_set_aside(world: World) -> str | None:
    """In the end every item that was answered is a row, or set aside and counted."""
    log = world.log
    rows = {row["id"] for row in world.database.table("served_requests")}
    missing = world.answered - rows
    aside = {line for path in log._aside.folder.glob("*") for line in path.read_text().splitlines()} if missing else ()
    lost = [item for item in missing if not any(item in line for line in aside)]
    if lost or log.backlog():
        return f"{len(lost)} of {len(world.answered)} items are lost; {log.backlog()} bytes wait: {log.problem}"
    return None


def no_run_hangs(world: World) -> str | None:
    """In the end no run is in progress without a process."""
    left = [run.purpose for run in world.runs if not run.finished]
    return f"{left}" if left else None


def people_know_who_serves(world: World) -> str | None:
    """In the end the alert of the route is open if the fallback serves after a move, and people were told so."""
    moves = _moves(world)
    alerts = world.database.table("alerts")
    open_ = any(row["key"] == "route" and row["resolved_at"] is None for row in alerts)
    if open_ != bool(moves and moves[-1]["moved_to"] == "fallback"):
        return f"alert open: {open_}; moves: {[m['moved_to'] for m in moves]}"
    waiting = [row for row in world.database.table("alert_deliveries") if row["delivered_at"] is None]
    told = [message.kind for message in world.webhook.got if message.kind != "repeated"]
    wanted = "opened" if open_ else "resolved"
    if waiting or (moves and any(m["moved_to"] == "fallback" for m in moves) and wanted not in told):
        return f"{len(waiting)} messages wait; told: {told}"
    return None


def every_window_is_judged(world: World) -> str | None:
    """In the end every window that was cut has its verdict."""
    left = [window["id"] for window in world.database.table("drift_windows") if window["judged_at"] is None]
    return f"{left}" if left else None


def _booked(world: World) -> list[dict[str, Any]]:
    """Moves that were made, in the order in which they were."""
    made = [move for move in world.database.table("route_state") if move["switched_at"] is not None]
    return sorted(made, key=lambda move: (move["switched_at"], move["id"]))


def _due(world: World) -> list[dict[str, Any]]:
    """Moves that are open."""
    return [move for move in world.database.table("route_state") if not (move["switched_at"] or move["dropped_at"])]


def _moves(world: World) -> list[dict[str, Any]]:
    """Moves of the route that were audited."""
    return [row for row in world.database.table("audit") if row["subject"] == "route"]


ALWAYS: dict[Invariant, frozenset[str]] = {  # with the tables that it speaks of
    one_move_is_open_at_most: frozenset({"route_state"}),
    every_booked_move_is_audited_once: frozenset({"route_state", "audit"}),
    moves_follow_one_another: frozenset({"audit"}),
    drift_moves_have_their_evidence: frozenset({"route_state"}),
    the_drift_never_moves_what_is_pinned: frozenset({"route_state"}),
    the_fallback_dwells: frozenset({"route_state"}),
    windows_do_not_overlap: frozenset({"drift_windows"}),
    windows_hold_one_model: frozenset({"drift_windows"}),
    verdicts_are_kept: frozenset({"drift_windows"}),
    no_row_is_doubled_nor_made_up: frozenset({"served_requests"}),
    one_alert_is_open_for_a_key: frozenset({"alerts"}),
    people_hear_of_a_move_once: frozenset({"alerts"}),
    what_serves_is_released: frozenset({"served_requests"}),
}
IN_THE_END: tuple[Invariant, ...] = (  # the cheapest first: the wait for the end asks them again and again
    no_run_hangs,
    books_files_and_server_agree,
    every_answer_is_a_row_or_set_aside,
    people_know_who_serves,
    every_window_is_judged,
)
