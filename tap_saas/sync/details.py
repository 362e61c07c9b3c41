"""Records that an event only names: asked for, one by one or many at once; what fails waits.

What waits is kept in STATE (`pending`), bounded: the queue or the log is not read further while it
is full.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.client.sender import Where
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Response
from tap_saas.connector.responses import observed_at
from tap_saas.connector.routes import Fetch
from tap_saas.errors import ApiError, StateError
from tap_saas.sync.bookmark import instant_text
from tap_saas.sync.run import Run

log = logging.getLogger(__name__)
MAX_PENDING = 1_000
ATTEMPTS = 8  # over about four hours
LONGEST_WAIT = timedelta(hours=1)


class Want(msgspec.Struct, array_like=True):
    """A record to ask for, an entry of `pending`: `values` fill the request of the route.

    `offset` is that of the queue's event, `None` for an event log. `seen_at` and `not_before` are
    RFC 3339. `known` is what a tombstone would have of the record.
    """

    route: int
    stream: str
    values: dict[str, Any]
    known: dict[str, Any]
    seen_at: str
    offset: int | None = None
    attempts: int = 0
    not_before: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the API said of wanted records: the records, those that are gone, when it said so."""

    records: Sequence[Any]
    gone: Sequence[Want]
    at: datetime


def read_pending(data: Any, source: str) -> list[Want]:
    """The entries of `pending` in a bookmark.

    Raises:
        StateError: it is not one of ours.
    """
    try:
        return msgspec.convert(data, list[Want])
    except msgspec.ValidationError as error:
        raise StateError(
            f"pending cannot be read ({error})", stream=source, do="mend the state"
        ) from error


def postponed(want: Want, now: datetime) -> Want | None:
    """The want for a later run, `None` after its last attempt."""
    attempts = want.attempts + 1
    if attempts >= ATTEMPTS:
        return None
    wait = min(timedelta(minutes=2**attempts), LONGEST_WAIT)
    return msgspec.structs.replace(want, attempts=attempts, not_before=instant_text(now + wait))


class Details:
    """Asks for the records of one source's routes. `key_columns` are those of each stream."""

    def __init__(
        self,
        run: Run,
        source: str,
        fetches: Mapping[int, Fetch],
        key_columns: Mapping[str, Sequence[str]],
    ) -> None:
        self._run, self._source, self._fetches = run, source, fetches
        self._keys = key_columns

    def groups(self, wants: Sequence[Want]) -> Iterator[list[Want]]:
        """The wants by request: one each, or as many as `batch` says; the same record once."""
        by_route: dict[int, dict[bytes, Want]] = {}
        for want in wants:
            name = msgspec.json.encode(want.values, order="sorted")
            by_route.setdefault(want.route, {})[name] = want
        for route, found in by_route.items():
            size = self._fetches[route].batch or 1
            group = list(found.values())
            yield from (group[at : at + size] for at in range(0, len(group), size))

    def ask(self, group: Sequence[Want]) -> Answer:
        """What the API says of these.

        Raises:
            ApiError: it answers wrongly, or not at all.
        """
        fetch = self._fetches[group[0].route]
        where = Where(stream=group[0].stream, context=group[0].values)
        client, values = self._run.client, self._values(fetch, group)
        values["token"] = client.token(fetch, where)

        def decode(response: Response) -> Decoded:
            return Decoded(read_records(fetch.records, response), "dict")

        try:
            outcome = client.send(fetch, fetch.build(values), where=where, decode=decode)
        except ApiError as error:
            if error.status not in fetch.gone or len(group) > 1:
                raise
            return Answer([], group, self._run.now())
        at = observed_at(outcome.response)
        if outcome.decoded is None:
            return Answer([], [], at)
        records = [self._with_values(group, one) for one in outcome.decoded.records]
        return Answer(records, self._missing(fetch, group, records), at)

    def _values(self, fetch: Fetch, group: Sequence[Want]) -> dict[str, Any]:
        values = {**self._run.values, "now": self._run.now()}
        for name in fetch.values:
            found = [want.values[name] for want in group if name in want.values]
            if fetch.batch is not None:
                values[name] = list(dict.fromkeys(found))
            elif found:
                values[name] = found[0]
        return values

    def _with_values(self, group: Sequence[Want], record: Any) -> Any:
        """The record with what names its partition; one request asks for one partition only."""
        if len(group) > 1 or not isinstance(record, dict):
            return record
        return {**group[0].values, **record}

    def _missing(self, fetch: Fetch, group: Sequence[Want], records: Sequence[Any]) -> list[Want]:
        """Those of a batch that the answer lacks: they are gone."""
        if fetch.batch is None:
            return [] if records else list(group)
        names = [name for name in self._keys[group[0].stream] if name in fetch.values]
        told = {
            tuple(str(record.get(name, UNSET)) for name in names)
            for record in records
            if isinstance(record, dict)
        }
        return [
            want
            for want in group
            if tuple(str(want.values.get(name)) for name in names) not in told
        ]
