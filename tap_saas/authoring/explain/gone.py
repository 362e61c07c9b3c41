"""How it is known what is gone: by a flag, a list, a sweep; and what that costs now and then."""

from __future__ import annotations

from tap_saas.authoring.explain import words
from tap_saas.connector.deletes import Sweep
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.routes import Route
from tap_saas.sync.sweeps import MARGIN_MS


def gone(connector: Connector, stream: Stream) -> list[str]:
    """The sentences about one stream's deleted records."""
    found = []
    deletes = stream.deletes
    if deletes is not None and deletes.flag is not None:
        found.append(f"{deletes.flag}: the row is marked, `_sdc_deleted_at` says when")
    if deletes is not None and deletes.list_ is not None:
        at = words.asked(deletes.list_)
        found.append(f"after each pass {at} tells what is gone; not counted below")
    if any(route.deleted or route.fetch for route in _routes(connector, stream)):
        found.append("events tell it as they come (see below)")
    if deletes is not None and deletes.sweep is not None:
        found += _sweep(deletes.sweep)
    return found or ["nothing tells it (deletes): rows of what is gone stay as they are"]


def _routes(connector: Connector, stream: Stream) -> list[Route]:
    logs = [log.routes for log in connector.events.values()]
    sources = [source.routes for source in connector.webhooks.values()]
    return [one for routes in logs + sources for one in routes if one.stream == stream.name]


def _sweep(sweep: Sweep) -> list[str]:
    margin = words.duration(MARGIN_MS / 1000)
    rejected = f"more than {sweep.allow:,} records were" if sweep.allow else "a record was"
    return [
        f"a sweep every {words.duration(sweep.every)}: that run is a full pass; the run after it "
        "marks the rows that it did not see",
        f"it does not count where {rejected} rejected, a partition was skipped, or it is more than "
        f"{words.percent(sweep.max)} smaller than the last",
        f"rows that were written less than {margin} before it are left to the next sweep",
    ]
