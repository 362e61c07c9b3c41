"""Rejects once more, after the connector was mended: those that pass now become rows."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from tap_saas.connector.exchange import Document
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.model import OBSERVED, OBSERVED_COLUMN
from tap_saas.connector.routes import Fetch
from tap_saas.errors import ApiError
from tap_saas.sync import rejects
from tap_saas.sync.bookmark import instant_text
from tap_saas.sync.details import Details, Want
from tap_saas.sync.shape import DELETED, Tombstone

if TYPE_CHECKING:
    from tap_saas.sync.ledgers import LedgerStream
    from tap_saas.sync.run import Run
    from tap_saas.sync.stream import SaasStream

PAGE = 1_000  # rejects that are prepared at once
IN_MEMORY = 8 * 2**20  # bytes of marks; more go to a file
_ROOT = Path(())
_REFRESH = "run the stream with a full refresh"
MASKED = f"the payload is masked or altered; {_REFRESH}"
NO_VERSION = f"no version says whether they are still the newest; {_REFRESH}"
NO_OBJECT = f"the payload is no object; {_REFRESH}"
NO_PARTITION = f"nothing says which partition they are of; {_REFRESH}"
UNKNOWN = "the types of the stream are not known here; pass --state, or the home of its runs"
NO_STREAM = "the connector has no such stream"
EVENTS = "they are events, not records; replay those from the queue or the log"
SILENT = f"the API, asked again, says nothing of them; {_REFRESH}"


class Kept(msgspec.Struct, kw_only=True):
    """A row of `_rejects`, as its SCHEMA has it."""

    id: str
    stream: str
    record_key: str | None = None
    error: str | None = None
    pointer: str | None = None
    message: str | None = None
    payload: str | None = None
    masked: bool | None = None
    context: dict[str, Any] | None = None
    run_id: str | None = None
    rejected_at: str | None = None
    replayed_at: str | None = None


class Outcome(msgspec.Struct):
    """What became of the rejects of one stream: counts by error type, and by why they were left."""

    replayed: int = 0
    gone: int = 0
    bad: Counter[str] = msgspec.field(default_factory=Counter)
    left: Counter[str] = msgspec.field(default_factory=Counter)


def kept_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[Kept]:
    """The rows as what they are; raises `msgspec.ValidationError` for those of another table."""
    return (msgspec.convert(row, Kept) for row in rows)


def read_lines(lines: Iterable[str | bytes]) -> list[Kept]:
    """The rejects in Singer lines, those of one stream and partition together; of one id the last.

    Raises:
        msgspec.MsgspecError: a line is not JSON, or not a row of `_rejects`.
    """
    found: dict[str, Kept] = {}
    for line in lines:
        message = msgspec.json.decode(line) if line.strip() else {}
        if message.get("type") == "RECORD" and message.get("stream") == rejects.STREAM:
            kept = msgspec.convert(message["record"], Kept)
            found[kept.id] = kept
    return sorted(found.values(), key=lambda kept: (*_group(kept), kept.rejected_at or ""))


def _group(kept: Kept) -> tuple[str, str]:
    return kept.stream, json.dumps(kept.context, sort_keys=True)


class Replay:
    """Turns rejects into Singer lines: SCHEMA, RECORD, and rows of `_rejects` with `replayed_at`.

    Those rows come last: a target that fails before has not been told that anything was replayed.
    """

    def __init__(self, run: Run, streams: Mapping[str, SaasStream], ledger: LedgerStream) -> None:
        self._run, self._streams, self._ledger = run, streams, ledger
        self._marks = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed by `marks`
        self.outcomes: dict[str, Outcome] = {}

    def lines(self, found: Iterable[Kept]) -> Iterator[bytes]:
        """The lines of the records that pass now; the rejects of a group must follow each other."""
        for (name, _), group in itertools.groupby(found, _group):
            outcome = self.outcomes.setdefault(name, Outcome())
            stream = self._streams.get(name)
            while page := list(itertools.islice(group, PAGE)):
                if stream is None:
                    outcome.left[self._why_no_stream(name)] += len(page)
                    continue
                yield from self._page(stream, page, outcome)

    def _page(self, stream: SaasStream, page: list[Kept], outcome: Outcome) -> Iterator[bytes]:
        taken: list[tuple[Kept, dict[str, Any]]] = []
        asked: list[Kept] = []
        for kept in page:
            record = _record(kept)
            why = self._why_not(stream, kept, record)
            if why is None and record is not None:
                taken.append((kept, record))
            elif why in (MASKED, NO_VERSION) and self._want(stream, kept) is not None:
                asked.append(kept)
            else:
                outcome.left[str(why)] += 1
        if taken:
            yield self._prepared(stream, taken, taken[0][0].context or {}, outcome)
        for kept in asked:
            yield from self._asked(stream, kept, outcome)

    def _why_no_stream(self, name: str) -> str:
        connector = self._run.connector
        return EVENTS if name in connector.events or name in connector.webhooks else NO_STREAM

    @staticmethod
    def _why_not(stream: SaasStream, kept: Kept, record: dict[str, Any] | None) -> str | None:
        """Why a payload cannot be replayed as it is, `None` where it can."""
        form, context = stream.form, kept.context or {}
        if set(form.key_columns) - stream.columns.by_name.keys():
            return UNKNOWN
        if kept.masked or kept.masked is None:
            return MASKED
        if form.version_kind is None:
            return NO_VERSION
        if record is None:
            return NO_OBJECT
        known = context.keys() | record.keys()
        if form.version == OBSERVED and OBSERVED_COLUMN not in known:
            return NO_VERSION
        return NO_PARTITION if set(form.context) - known else None

    def _prepared(
        self,
        stream: SaasStream,
        taken: Sequence[tuple[Kept, dict[str, Any]]],
        context: Mapping[str, Any],
        outcome: Outcome,
        observed: datetime | None = None,
    ) -> bytes:
        """The lines of these records; what is still bad stays in `_rejects` as it is."""
        records = [record for _, record in taken]
        batch = stream.output.prepare(records, observed, context)
        still_bad = {id(reject.payload): reject.error for reject in batch.rejects}
        for kept, record in taken:
            error = still_bad.get(id(record))
            if error is not None:
                outcome.bad[error] += 1
            else:
                outcome.replayed += 1
                self._mark(kept)
        batch.rejects = []
        return stream.output.lines(batch, self._now()) if batch.rows else b""

    def _asked(self, stream: SaasStream, kept: Kept, outcome: Outcome) -> Iterator[bytes]:
        """The record as the API has it now."""
        want = self._want(stream, kept)
        if want is None:
            return
        fetch = self._fetches(stream)[want.route]
        forms = {stream.name: stream.form}
        try:
            answer = Details(self._run, {want.route: fetch}, forms).ask([want])
        except ApiError as error:
            outcome.left[f"the API, asked again, answers: {error.what}"] += 1
            return
        if answer.records:
            taken = [(kept, answer.records[0])]
            yield self._prepared(stream, taken, kept.context or {}, outcome, answer.at)
        elif answer.gone:
            outcome.gone += 1
            self._mark(kept)
        else:
            outcome.left[SILENT] += 1

    def _want(self, stream: SaasStream, kept: Kept) -> Want | None:
        """What the API must be asked for; `None` where no route of the connector can ask for it."""
        try:
            key = msgspec.json.decode(kept.record_key or "[]")
        except msgspec.DecodeError:
            return None
        known = dict(zip(stream.form.key_columns, key, strict=False)) | (kept.context or {})
        for number, fetch in self._fetches(stream).items():
            values = {name: known.get(name) for name in fetch.values}
            if None not in values.values():
                return Want(number, stream.name, values, {})
        return None

    def _fetches(self, stream: SaasStream) -> dict[int, Fetch]:
        connector = self._run.connector
        routes = [route for events in connector.events.values() for route in events.routes]
        routes += [route for source in connector.webhooks.values() for route in source.routes]
        return {
            number: route.fetch
            for number, route in enumerate(routes)
            if route.stream == stream.name and route.fetch is not None
        }

    def _mark(self, kept: Kept) -> None:
        row = {**msgspec.to_builtins(kept), "replayed_at": self._now()}
        self._marks.write(self._ledger.lines([row], self._now()))

    def marks(self) -> Iterator[bytes]:
        """The lines that say in `_rejects` what has been replayed."""
        self._marks.seek(0)
        yield from iter(lambda: self._marks.read(2**16), b"")
        self._marks.close()

    def _now(self) -> str:
        return instant_text(self._run.now())


def _record(kept: Kept) -> dict[str, Any] | None:
    """The record as the API sent it, `None` where the payload is none."""
    try:
        record = Document((kept.payload or "").encode()).exact(_ROOT)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    return Tombstone(record) if DELETED in record else record
