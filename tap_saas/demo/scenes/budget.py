"""A budget of 1,000 requests an hour: all of it is used, none is refused, and the run ends well."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from tap_saas.demo.scene import require
from tap_saas.demo.stage import Stage

BUDGET, SIZE = 1_000, 4
_NEXT = re.compile(r"the next request is allowed in (\d+ \w+)")


class Spent(NamedTuple):
    """What the API answered by status, what the run said at its end, and its checkpoint."""

    answered: dict[str, int]
    wait: str
    incomplete: str | None
    rows: int
    checkpoint: dict[str, Any]


def play(stage: Stage) -> Spent:
    """Read a list of more pages than the API answers in an hour."""
    stage.open_api(events=(BUDGET + 50) * SIZE)
    stage.tell(
        f"the API answers {BUDGET:,} requests in an hour; the list has {BUDGET + 50:,} pages"
    )
    ended = stage.run()
    waits = [match[1] for match in map(_NEXT.search, ended.log) if match]
    return Spent(
        answered=stage.ask("GET", "/_requests?times=0")["by_path"]["/events"],
        wait=waits[0] if waits else "",
        incomplete=stage.report("events")["incomplete"],
        rows=stage.query("SELECT count(*) FROM events")[0][0],
        checkpoint=stage.checkpoint("events"),
    )


def line(seen: Spent) -> str:
    """`budget: 1,000 requests an hour: 1,000 sent, 0 refused, the next in 60 min`."""
    sent, refused = sum(seen.answered.values()), seen.answered.get("429", 0)
    require(refused == 0, f"{refused} requests were refused")
    require(sent == BUDGET, f"{sent} requests were sent")
    require(seen.rows == BUDGET * SIZE, f"{seen.rows} rows are there")
    require(bool(seen.incomplete and seen.wait), "the run did not say that it is incomplete")
    require(seen.checkpoint["last_cursor"] is not None, "there is no checkpoint")
    return (
        f"budget of {BUDGET:,} requests an hour: {sent:,} sent, {refused} refused, stopped with a"
        f" checkpoint, the next in {seen.wait}"
    )
