"""The columns of a stream before its records are read: declared, learnt earlier, or from one
sample.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tap_saas.client.client import Where
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.events import EventLog
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.model import Stream
from tap_saas.connector.webhook import WebhookSource
from tap_saas.sync import evolve
from tap_saas.sync.bookmark import Bookmark
from tap_saas.sync.columns import Column, Columns, Kind, bad_name, column, learn, short_name
from tap_saas.sync.pull import Pull, PullFeed
from tap_saas.sync.readings import COLUMN, has_readings
from tap_saas.sync.run import Run
from tap_saas.sync.shape import DELETED

log = logging.getLogger(__name__)


class Memory:
    """What earlier runs learnt of a connector's schemas: `home/schemas/<connector>.json`."""

    def __init__(self, home: Path, connector: str) -> None:
        self._path = home / "schemas" / f"{connector}.json"

    def load(self) -> dict[str, list[list[str]]]:
        """The learnt columns by stream; a file that cannot be read is as none."""
        try:
            known = msgspec.json.decode(
                self._path.read_bytes(), type=dict[str, list[tuple[str, Kind]]]
            )
        except (OSError, ValueError, RecursionError):
            return {}
        return {
            stream: [[name, kind] for name, kind in columns if not bad_name(name)]
            for stream, columns in known.items()
        }

    def keep(self, stream: str, learnt: list[list[str]]) -> None:
        """Keep the columns of a stream, atomically; where that cannot be, it is told."""
        known = self.load()
        if known.get(stream) == learnt:
            return
        known[stream] = learnt
        draft = self._path.with_suffix(f".{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
            draft.replace(self._path)
        except OSError as error:
            log.warning("the learnt schema cannot be kept (%s): %s", error.strerror, self._path)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def columns_of(run: Run, stream: Stream) -> Columns:
    """The columns as far as they are known without records: no request is made.

    Partition values, the version and the replication key have their place even where the schema is
    learnt.
    """
    declared = stream.schema_ if isinstance(stream.schema_, Mapping) else None
    columns = Columns(()) if declared is None else Columns.declared(declared)
    if stream.fields is not None:
        columns = columns.with_(column(name, sub) for name, sub in stream.fields.types.items())
    extra = [_context_column(run, stream, name) for name in stream.context]
    columns = columns.with_([c for c in extra if c is not None and c.name not in columns.by_name])
    if stream.version_kind == "observed":
        name = stream.version_column or ""
        columns = columns.with_([Column(name, short_name(name), "date-time")])
    if stream.key_columns == ("_key",):
        columns = columns.with_([Column("_key", "_key", "string")])
    if has_readings(stream):
        columns = columns.with_([Column(COLUMN, COLUMN, "date-time")])
    if can_delete(run, stream):
        columns = columns.with_([Column(DELETED, DELETED, "date-time")])
    return _with_instants(stream, columns)


def can_delete(run: Run, stream: Stream) -> bool:
    """True where a record of the stream may say that its row is gone."""
    deletes, connector = stream.deletes, run.connector
    sources: list[EventLog | WebhookSource] = [*connector.events.values()]
    sources += connector.webhooks.values()
    routes = [r for source in sources for r in source.routes if r.stream == stream.name]
    return any(route.can_delete or route.fetch is not None for route in routes) or (
        deletes is not None and (deletes.flag is not None or deletes.list_ is not None)
    )


def _with_instants(stream: Stream, columns: Columns) -> Columns:
    """The replication key and the version are date-times where a text says an instant."""
    names = {stream.replication_key, stream.version_column} - {None}
    if stream.version_kind == "text":
        names.discard(stream.version_column)
    changed = [
        msgspec.structs.replace(known, kind="date-time")
        for name in sorted(str(name) for name in names)
        if (known := columns.by_name.get(name)) is not None and known.kind == "string"
        and (name == stream.version_column or _is_instant(stream))
    ]  # fmt: skip
    return columns.with_(changed)


def _is_instant(stream: Stream) -> bool:
    return stream.incremental is not None and stream.incremental.kind == "instant"


def _context_column(run: Run, stream: Stream, name: str) -> Column | None:
    """The column of a partition's value: its kind is that of the parent's field or of the list's
    items.
    """
    if stream.for_each is not None and stream.for_each.as_ == name:
        return _first(name, run.values.get(stream.for_each.setting))
    for parent in stream.parents:
        if parent.stream is None and parent.as_ == name:
            return _first(name, parent.items(run.values))
        if parent.stream is None:
            continue
        above = run.connector.streams[parent.stream]
        if name in parent.values:
            keys = parent.values[name].keys
            known = columns_of(run, above).by_name.get(keys[0]) if keys and len(keys) == 1 else None
            return known and Column(name, short_name(name), known.kind, learnt=True)
        if name in above.context:
            return _context_column(run, above, name)
    return None


def _first(name: str, values: Any) -> Column | None:
    return learn(name, values[0], key=True) if values else None


def sample(run: Run, stream: Stream, columns: Columns) -> Columns:
    """The columns with those that the stream's first page shows."""
    log.info("%s: asking for one page to learn its schema", stream.name)
    _, records = first_page(run, stream)
    version = None if stream.version_kind == "text" else stream.version_column
    reads = evolve.readers(version, stream.incremental)
    keys = (*stream.key_columns, *stream.context)
    return evolve.grow(columns, shaped(run, stream, records), reads, keys)


def first_page(
    run: Run, stream: Stream, decode: Callable[[Response], Decoded] | None = None
) -> tuple[Page | None, list[dict[str, Any]]]:
    """The first page of the first partition, and its records with the partition's values.

    `decode` reads them another way than the stream says.
    """
    feed = PullFeed(
        Pull(
            stream=stream,
            streams=run.connector.streams,
            client=run.client,
            values=run.values,
            decode=decode or plain_decode(stream),
            plain=plain_decode,
            bookmark=lambda _: Bookmark({}, stream.name),
            partitions_kept=lambda: 0,
            now=run.now,
            start_date=run.start_date,
            ahead_bytes=0,
        )
    )
    with contextlib.closing(feed.pages()) as pages:
        fed = next(pages, None)
        if fed is None:
            return None, []
        records = [r for r in fed.page.records if isinstance(r, dict)]
        return fed.page, [{**fed.constant, **record} for record in records]


def prove(run: Run) -> str:
    """Send the connector's `check` request, else ask for a first page; what was asked.

    Raises:
        CredentialError: the API refuses the credentials.
        ApiError: it answers wrongly, or not at all.
    """
    form = run.connector.check
    if form is None:
        name, stream = next(iter(run.connector.streams.items()))
        first_page(run, stream)
        return f"first page of {name}"
    request = form.build({**run.values, "now": run.now(), "token": run.client.token(form)})
    run.client.send(form, request, where=Where())
    return f"{request.method} {request.url}"


def shaped(run: Run, stream: Stream, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with the connector's `fields` applied; those that it refuses are left out."""
    shaper = stream.shaper(run.values)
    if shaper is None:
        return records
    return [record for record in map(_quietly(shaper), records) if record]


def _quietly(
    shaper: Callable[[dict[str, Any]], dict[str, Any] | None],
) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """The shaper, giving `None` for a record that it refuses: a sample judges nothing."""

    def shape(record: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return shaper(record)
        except ValueError:
            return None

    return shape


def plain_decode(stream: Stream) -> Callable[[Response], Decoded]:
    """Records as JSON objects, whatever the lane."""
    return lambda response: Decoded(read_records(stream.records, response), "dict")


def knows_all(stream: Stream, columns: Columns) -> bool:
    """True where no sample is needed: the schema is declared, or its key has been learnt."""
    if isinstance(stream.schema_, Mapping):
        return all(name in columns.by_name for name in stream.context)
    return False
