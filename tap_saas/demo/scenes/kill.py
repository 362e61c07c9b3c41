"""The tap is killed in the middle of a list; the next run goes on from the checkpoint."""

from __future__ import annotations

import time
from typing import NamedTuple

from tap_saas.demo.scene import require
from tap_saas.demo.stage import Stage

PAGES, SIZE = 100, 50
KILLED_AT = 40


class Killed(NamedTuple):
    """Pages asked for before the kill and in the run after it; rows there, and what the API has."""

    asked: int
    asked_again: int
    rows: int
    listed: int
    exact: bool


def play(stage: Stage) -> Killed:
    """Kill -9 the tap once it has asked for page 40, then run the pipe again."""
    stage.open_api(events=PAGES * SIZE)
    stage.ask("POST", "/_faults", path="/events", kind="slow", delay_ms=20, times=None)
    stage.tell(f"{PAGES} pages of {SIZE} events; each answer takes 20 ms longer")
    stage.run(kill_when=lambda: _is_waiting(stage))
    asked = _asked(stage)
    stage.tell(f"  kill -9 of tap-saas: it had asked for {asked} pages")
    is_kept = bool(stage.checkpoint("events"))
    kept = stage.query("SELECT count(*) FROM events")[0][0] if is_kept else 0
    stage.tell(f"  table events: {kept:,} rows; the same line again")
    stage.ask("DELETE", "/_requests")
    stage.run()
    stage.report("events")
    stage.checkpoint("events")
    return Killed(
        asked=asked,
        asked_again=_asked(stage),
        rows=stage.query("SELECT count(*) FROM events")[0][0],
        listed=stage.ask("GET", "/_world")["streams"]["events"],
        exact=stage.is_exact("events"),
    )


def line(seen: Killed) -> str:
    """`killed at page 40 of 100, resumed at 38, exact`."""
    pages = -(-seen.listed // SIZE)
    resumed = pages - seen.asked_again + 1
    require(1 <= resumed <= seen.asked + 1, f"run 2 asked for {seen.asked_again} pages")
    require(seen.exact, "API and PostgreSQL differ")
    return (
        f"killed at page {seen.asked} of {pages}, resumed at {resumed}, exact:"
        f" {seen.rows:,} of {seen.listed:,} rows"
    )


def _is_waiting(stage: Stage) -> bool:
    """Whether the tap waits for an answer, page 40's or a later one's."""
    statuses = stage.ask("GET", "/_requests?times=0")["by_path"].get("/events", {})
    if sum(statuses.values()) < KILLED_AT or "0" not in statuses:
        return False
    time.sleep(0.005)  # the page before has been written by now
    return True


def _asked(stage: Stage) -> int:
    counts = stage.ask("GET", "/_requests?times=0")["by_path"]
    return sum(counts.get("/events", {}).values())
