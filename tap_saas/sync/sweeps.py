"""Sweeps: full passes after which the rows that they did not show are marked as deleted.

A sweep's records carry its `version` (Singer, RECORD), which the target keeps in
`_sdc_table_version`. ACTIVATE_VERSION marks the rows that have an older one; it is sent by the NEXT
run, when the state which that run was started with proves that the target has written the whole
pass.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import msgspec

from tap_saas.connector import formats
from tap_saas.connector.deletes import Sweep
from tap_saas.connector.units import Duration
from tap_saas.errors import StateError
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.shape import Batch

log = logging.getLogger(__name__)
MARGIN_MS = 600_000  # rows that others insert while the clocks differ are newer than the pass
DEFAULT = Sweep(every=Duration(days=1))
"""The rules of a sweep that is forced on a stream which asks for none."""


class Flight(msgspec.Struct, array_like=True):
    """A sweep in flight, the bookmark's `sweep`; counts are of records received so far."""

    version: int
    started_at: str
    received: int = 0
    rejected: int = 0
    skipped: int = 0
    restarts: int = 0


class Swept(msgspec.Struct, array_like=True):
    """A sweep that ended, the bookmark's `activate` and `swept`."""

    version: int
    at: str
    received: int


def forced(bookmark: Bookmark, now: datetime) -> str | None:
    """Why a full pass is due that nobody planned: a source has a gap; `None` where none is.

    The bookmark's `due` is `[why]`, and `[why, not before]` once a pass for it did not count.
    """
    match bookmark.data["due"]:
        case [why, str(not_before)]:
            return str(why) if now >= formats.read_instant(not_before) else None
        case [why, *_]:
            return str(why)
    return None


class Sweeping:
    """The sweeps of one stream in one run; `rules` is `None` where the stream asks for none."""

    def __init__(self, stream: str, rules: Sweep | None, bookmark: Bookmark, now: datetime) -> None:
        self._stream, self._rules, self._bookmark, self._now = stream, rules, bookmark, now
        self.flight: Flight | None = self._read("sweep", Flight)

    def _read(self, name: str, kind: Any) -> Any:
        found = self._bookmark.data[name]
        try:
            return msgspec.convert(found, kind) if found else None
        except msgspec.ValidationError as error:
            raise StateError(
                f"{name} cannot be read ({error})",
                stream=self._stream,
                do="mend the state, or run with a full refresh",
            ) from error

    def take_activation(self) -> int | None:
        """The version to activate: the state that this run was started with has it. Ask once."""
        done: Swept | None = self._read("activate", Swept)
        if done is None:
            return None
        self._bookmark.data["activate"] = []
        self._bookmark.data["swept"] = msgspec.to_builtins(done)
        return done.version

    def begin(self, *, expired: bool) -> bool:
        """True where this run's pass is a sweep: one is in flight, due, or forced.

        `expired` says that the API no longer has what changed since the watermark. A pass in flight
        is ended first.
        """
        if self.flight is not None and not self._bookmark.walks:
            if self._bookmark.succeeded_since(self.flight.started_at):
                self.end(0, 0)  # the last run was ended between the last page and the end
                return False
            self.flight = Flight(self.flight.version, self.flight.started_at)
        if self.flight is not None:
            return True
        why = forced(self._bookmark, self._now)
        if why is None and self._rules is not None:
            why = "retention" if expired else "due" if self._is_due(self._rules) else None
        if why is None or self._bookmark.walks:
            return False
        log.info("%s: sweep: a full pass (%s)", self._stream, why)
        last: Swept | None = self._read("swept", Swept)
        version = int(self._now.timestamp() * 1000) - MARGIN_MS
        if last is not None:
            version = max(version, last.version + 1)
        self.flight = Flight(version, instant_text(self._now))
        self._keep()
        return True

    def _is_due(self, rules: Sweep) -> bool:
        last: Swept | None = self._read("swept", Swept)
        return last is None or self._now - formats.read_instant(last.at) >= rules.every

    def _keep(self) -> None:
        self._bookmark.data["sweep"] = msgspec.to_builtins(self.flight)

    def note(self, batch: Batch, skipped: int, restarts: int) -> None:
        """A page is written; skips and restarts are those of this run so far."""
        if self.flight is None:
            return
        flight = self.flight
        flight.received += batch.received
        flight.rejected += len(batch.rejects)
        flight.skipped = max(flight.skipped, skipped)
        flight.restarts = max(flight.restarts, restarts)
        self._keep()

    def end(self, skipped: int, restarts: int) -> None:
        """The pass is complete: the next run activates its version, where the sweep counts."""
        if self.flight is None:
            return
        flight, data = self.flight, self._bookmark.data
        flight.skipped = max(flight.skipped, skipped)
        flight.restarts = max(flight.restarts, restarts)
        last: Swept | None = self._read("swept", Swept)
        why = self._why_not(flight, None if last is None else last.received)
        done = Swept(flight.version, flight.started_at, flight.received)
        if why is None:
            data["activate"] = msgspec.to_builtins(done)
            data["due"] = []
            log.info(
                "%s: swept %d records; the next run marks the rest", self._stream, done.received
            )
        else:
            log.warning("%s: the sweep does not count: %s; nothing is marked", self._stream, why)
            done.received = 0 if last is None else last.received
            if data["due"]:
                again = self._now + (self._rules or DEFAULT).every
                data["due"] = [data["due"][0], instant_text(again)]
        data["swept"] = msgspec.to_builtins(done)
        data["sweep"], self.flight = [], None

    def _why_not(self, flight: Flight, last: int | None) -> str | None:
        rules = self._rules or DEFAULT
        if flight.skipped:
            return f"{flight.skipped} partitions were skipped"
        if flight.restarts:
            return "the API made the pass begin again"
        if flight.rejected > rules.allow:
            return f"{flight.rejected} records were rejected (allow: {rules.allow})"
        if not flight.received:
            return "the list is empty"
        if last and flight.received < last * (1 - rules.max):
            gone = 100 * (1 - flight.received / last)
            return (
                f"{flight.received:,} records, {gone:.1f} % less than the last time "
                f"(max: {rules.max * 100:g} %)"
            )
        return None
