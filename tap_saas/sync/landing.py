"""Events into the tables of the streams that they are about."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from tap_saas.connector.formats import normalise_instant
from tap_saas.connector.router import Routed, RouteError, Router
from tap_saas.errors import ApiError
from tap_saas.sync import rejects, sdk
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.details import MAX_PENDING, Answer, Details, Want, is_outage, once, postponed
from tap_saas.sync.ledgers import LedgerStream
from tap_saas.sync.run import Run
from tap_saas.sync.shape import DELETED, Batch, Tombstone
from tap_saas.sync.stream import SaasStream

log = logging.getLogger(__name__)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something that came in: one event, or several that the source's `split` finds.

    `document` is its JSON value, `error` says why there is none. `offset` is that of a queue.
    """

    document: Any
    headers: Mapping[str, str] = {}
    received_at: datetime
    offset: int | None = None
    error: str | None = None


class Landed(msgspec.Struct, kw_only=True):
    """What is to be written for some items, and which records wait for a later run.

    `outage` is why nothing more should be read now.
    """

    chunk: bytes
    batches: list[tuple[SaasStream, Batch]]
    pending: list[Want]
    outage: ApiError | None = None


class Landing:
    """Routes the events of one source, asks for what they only name, makes lines of all of it."""

    def __init__(
        self,
        run: Run,
        source: str,
        router: Router,
        details: Details,
        streams: Mapping[str, SaasStream],
        ledger: LedgerStream | None,
    ) -> None:
        self._run, self._source, self._router, self._details = run, source, router, details
        self._streams, self._ledger = streams, ledger
        self._rejects = rejects.Ledger(source, run.id, run.redactor.mask, None)
        self._aside: Counter[str] = Counter()

    def land(self, items: Iterable[Item], pending: Sequence[Want]) -> Landed:
        """The lines for these items; the bookmark may speak of them once the lines are written.

        `pending` are the records that wait already, those that are due are asked for.

        Raises:
            ApiError: too much waits; the items must come again.
        """
        records: dict[str, list[Any]] = {}
        bad: list[rejects.Reject] = []
        wants: list[Want] = []
        for item in items:
            for routed in self._routed(item, bad):
                self._place(routed, item, records, wants)
        now = instant_text(self._run.now())
        merged = once([*pending, *wants])
        waiting = [want for want in merged if (want.not_before or "") > now]
        due = [want for want in merged if (want.not_before or "") <= now]
        later, outage = self._ask(due, records, bad)
        waiting += later
        if len(waiting) > MAX_PENDING:
            raise ApiError(
                f"{len(waiting):,} records of events could not be asked for",
                stream=self._source,
                do="see why in the lines above; the events are kept",
            )
        return self._lines(records, bad, waiting, outage)

    def _routed(self, item: Item, bad: list[rejects.Reject]) -> list[Routed]:
        if item.error is not None:
            bad.append(rejects.Reject("bad_event", item.error, item.document))
            return []
        try:
            events = self._router.split(item.document)
        except RouteError as error:
            bad.append(rejects.Reject(error.kind, str(error), item.document, error.pointer))
            return []
        found: list[Routed] = []
        for event in events:
            try:
                routed = self._router.route(event, item.headers)
            except RouteError as error:
                bad.append(rejects.Reject(error.kind, str(error), event, error.pointer))
                continue
            self._aside["events"] += 1
            self._aside["events that no stream takes"] += not routed
            found += routed
        return found

    def _place(
        self, routed: Routed, item: Item, records: dict[str, list[Any]], wants: list[Want]
    ) -> None:
        seen_at = routed.time or item.received_at
        record = routed.record
        if routed.action == "fetch":
            wants.append(
                Want(
                    route=routed.route,
                    stream=routed.stream,
                    values=routed.values,
                    known=record or {},
                    offset=item.offset,
                )
            )
            return
        assert record is not None, "only `fetch` may know no record"
        if routed.action == "delete":
            record = Tombstone({**record, DELETED: _text(seen_at)})
        else:
            record = self._observed(routed.stream, record, seen_at)
        records.setdefault(routed.stream, []).append(record)

    def _observed(self, stream: str, record: Any, at: datetime) -> Any:
        """The record with the instant at which it was so, where that is the stream's version."""
        form = self._streams[stream].form
        if form.version_kind != "observed" or not isinstance(record, dict):
            return record
        return {str(form.version_column): _text(at), **record}

    def _ask(
        self, wants: list[Want], records: dict[str, list[Any]], bad: list[rejects.Reject]
    ) -> tuple[list[Want], ApiError | None]:
        """Ask for the records; what fails waits for a later run, or is a reject in the end.

        Where nothing could be had, and not because these records were refused, it was an outage.
        """
        failed: list[tuple[list[Want], ApiError]] = []
        answered, outage = 0, None
        for group in self._details.groups(wants):
            try:
                answer = self._details.ask(group)
            except ApiError as error:
                log.warning("%s", error)
                failed.append((group, error))
                outage = error if is_outage(error) else outage
                continue
            answered += 1
            found = records.setdefault(group[0].stream, [])
            found += [self._observed(group[0].stream, one, answer.at) for one in answer.records]
            found += self._gone(answer, bad)
        outage = None if answered else outage
        later = [
            want
            for group, error in failed
            for want in self._postpone(group, error, bad, may_end=outage is None)
        ]
        return later, outage

    def _postpone(
        self, group: Sequence[Want], error: ApiError, bad: list[rejects.Reject], *, may_end: bool
    ) -> list[Want]:
        """The wants for a later run; in an outage none has its last attempt."""
        now = self._run.now()
        later = [(want, postponed(want, now, may_end=may_end)) for want in group]
        bad += [
            rejects.Reject("not_fetched", str(error), want.values)
            for want, again in later
            if again is None
        ]
        return [again for _, again in later if again is not None]

    def _gone(self, answer: Answer, bad: list[rejects.Reject]) -> list[Tombstone]:
        """The tombstones of records that the API no longer has: it says so now."""
        found = []
        for want in answer.gone:
            if not want.known:
                continue
            try:
                row = self._router.gone(want.route, want.known, answer.at)
            except RouteError as error:
                bad.append(rejects.Reject(error.kind, str(error), want.known, error.pointer))
                continue
            found.append(Tombstone({**row, DELETED: _text(answer.at)}))
        return found

    def _lines(
        self,
        records: dict[str, list[Any]],
        bad: list[rejects.Reject],
        waiting: list[Want],
        outage: ApiError | None,
    ) -> Landed:
        at = instant_text(self._run.now())
        chunk, batches = b"", []
        for name, found in records.items():
            stream = self._streams[name]
            batch = stream.output.prepare(found)
            chunk += stream.output.lines(batch, at)
            batches.append((stream, batch))
        if bad:
            self._run.report.rejected(self._source, Counter(one.error for one in bad))
            rows = self._rejects.rows(bad, at, {})
            chunk += b"" if self._ledger is None else self._ledger.lines(rows, at)
        return Landed(chunk=chunk, batches=batches, pending=waiting, outage=outage)

    def note(self, landed: Landed) -> None:
        """The lines are written: count them, and let the streams' bookmarks know their columns."""
        for stream, batch in landed.batches:
            stream.output.count(batch)
            bookmark = Bookmark(stream.stream_state, stream.name)
            bookmark.data["schema"] = batch.columns.learnt()
            sdk.mark_changed(stream)

    def tell(self) -> None:
        """Say once, at the end, what came in."""
        for what, count in self._aside.items():
            if count:
                log.info("%s: %s: %d", self._source, what, count)
        for stream in self._streams.values():
            stream.output.tell()


def _text(instant: datetime) -> str:
    return normalise_instant(instant.isoformat())
