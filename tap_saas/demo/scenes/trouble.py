"""An API that says 429, and records that are wrong."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from tap_saas.demo.scene import require
from tap_saas.demo.stage import Stage

RETRY_AFTER_S = 5
COUNTS = "SELECT error, count(*) FROM _rejects GROUP BY 1 ORDER BY 2 DESC, 1"
_WAITING = re.compile(r"orders: page \d+: 429 .*waiting ([\d.]+) s")


class Trouble(NamedTuple):
    """What the run said of itself, and what the API saw.

    `gap_s` is how long the API was left alone after its Retry-After, `backoff_s` the waits without
    one, `rejects` the counts by error type in the table `_rejects`, `listed` the odd records.
    """

    waited_s: float
    gap_s: float
    backoff_s: list[float]
    complete: bool
    rejects: dict[str, int]
    counted: dict[str, int]
    error_rate: float
    rows: int
    listed: int
    stale: int


def play(stage: Stage) -> Trouble:
    """One run: page 2 of customers meets a Retry-After of 5 s, orders two 429s without one."""
    stage.open_api(customers=60, orders=40)
    stage.tell(f"customers will answer 429 with Retry-After: {RETRY_AFTER_S} once")
    stage.ask(
        "POST", "/_faults", path="/customers", kind="429", every=3, times=1,
        retry_after="seconds", after_s=RETRY_AFTER_S,
    )  # fmt: skip
    stage.tell("orders will answer 429 twice, without the header: backoff of up to 1 s, up to 2 s")
    stage.ask("POST", "/_faults", path="/orders", kind="429", times=2)
    ended = stage.run()
    reports = {name: stage.report(name) for name in ("customers", "orders", "oddities")}
    for error, pointer, message in stage.query(
        "SELECT DISTINCT ON (error) error, pointer, message FROM _rejects ORDER BY 1, 2, 3"
    ):
        stage.tell(f"  table _rejects: {error} at {pointer or '/'}: {message}")
    verdicts = stage.ask("GET", "/_truth?stream=oddities")["verdicts"]
    return Trouble(
        waited_s=reports["customers"]["waited_api_s"],
        gap_s=_gap_s(stage, "/customers"),
        backoff_s=[float(match[1]) for match in map(_WAITING.search, ended.log) if match],
        complete=stage.is_exact("customers") and stage.is_exact("orders"),
        rejects=dict(stage.query(COUNTS)),
        counted=reports["oddities"]["errors"],
        error_rate=reports["oddities"]["error_rate"],
        rows=stage.query("SELECT count(*) FROM oddities")[0][0],
        listed=len(verdicts),
        stale=sum(verdict["expect"] == "stale" for verdict in verdicts),
    )


def limited(seen: Trouble) -> str:
    """`429: waited 5 s, went on`."""
    require(seen.gap_s >= RETRY_AFTER_S, f"asked again after {seen.gap_s:.2f} s")
    require(len(seen.backoff_s) == 2, f"backoff of {seen.backoff_s}")
    require(seen.complete, "rows are missing")
    backoff = ", ".join(f"{wait:.1f} s" for wait in seen.backoff_s)
    return (
        f"429: waited {seen.waited_s:.1f} s (Retry-After: {RETRY_AFTER_S}), went on;"
        f" without the header: backoff {backoff}, went on"
    )


def rejected(seen: Trouble) -> str:
    """`7 rejected: missing_field 4, bad_date 3 (table _rejects)`."""
    total = sum(seen.rejects.values())
    require(total > 0, "nothing was rejected")
    require(seen.rejects == seen.counted, f"the report counts {seen.counted}")
    arrived = seen.rows + total + seen.stale
    require(arrived == seen.listed, f"{seen.listed} records listed, {arrived} accounted for")
    kinds = ", ".join(f"{error} {count}" for error, count in seen.rejects.items())
    return (
        f"{total} rejected: {kinds} (table _rejects), {seen.rows} rows,"
        f" error_rate {seen.error_rate:.2f}"
    )


def _gap_s(stage: Stage, path: str) -> float:
    """Seconds between the 429 of a path and the next request for it, on the API's clock."""
    told = stage.ask("GET", "/_requests")["times"]
    times = [(at, status) for at, asked, status in told if asked == path]
    gaps = [after[0] - before[0] for before, after in pairwise(times) if before[1] == 429]
    return gaps[0] if gaps else 0.0
