"""Records that an event only names: asked for, one by one or many at once; what fails waits.

What waits is kept in STATE (`pending`), bounded: the queue or the log is not read further while it
is full.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.client.client import Outcome
from tap_saas.client.sender import Where
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Response
from tap_saas.connector.model import Stream
from tap_saas.connector.responses import Rule, observed_at
from tap_saas.connector.routes import Fetch
from tap_saas.errors import ApiError, StateError
from tap_saas.sync.bookmark import instant_text
from tap_saas.sync.run import Run

log = logging.getLogger(__name__)
MAX_PENDING = 1_000
ATTEMPTS = 8  # over about four hours
LONGEST_WAIT = timedelta(hours=1)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_SORTED = msgspec.json.Encoder(decimal_format="number", order="sorted")
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Want(msgspec.Struct, array_like=True):
    """A record to ask for, an entry of `pending`: `values` fill the request of the route.

    `offset` is that of the queue's event, `None` for an event log. `not_before` is RFC 3339.
    `known` is what a tombstone would have of the record.
    """

    route: int
    stream: str
    values: dict[str, Any]
    known: dict[str, Any]
    offset: int | None = None
    attempts: int = 0
    not_before: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What the API said of wanted records: the records, those that are gone, when it said so."""

    records: Sequence[Any]
    gone: Sequence[Want]
    at: datetime


class _Kept(msgspec.Struct, array_like=True):
    """A want in STATE: `values` and `known` as JSON texts, since STATE is read without decimals."""

    route: int
    stream: str
    values: str
    known: str
    offset: int | None
    attempts: int
    not_before: str | None


def keep_pending(wants: Sequence[Want]) -> list[Any]:
    """The wants as a bookmark has them."""
    return [
        msgspec.to_builtins(
            _Kept(
                want.route,
                want.stream,
                _ENCODER.encode(want.values).decode(),
                _ENCODER.encode(want.known).decode(),
                want.offset,
                want.attempts,
                want.not_before,
            )
        )
        for want in wants
    ]


def read_pending(data: Any, source: str) -> list[Want]:
    """The entries of `pending` in a bookmark.

    Raises:
        StateError: it is not one of ours.
    """
    try:
        return [
            Want(
                kept.route,
                kept.stream,
                _DECODER.decode(kept.values),
                _DECODER.decode(kept.known),
                kept.offset,
                kept.attempts,
                kept.not_before,
            )
            for kept in msgspec.convert(data, list[_Kept])
        ]
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StateError(
            f"pending cannot be read ({error})", stream=source, do="mend the state"
        ) from error


def is_outage(error: ApiError) -> bool:
    """Whether the API is down for everything, as far as one failure can tell: an answer that
    refuses one record is none.
    """
    status = error.status or 0
    return not 400 <= status < 500 or status in (401, 403, 408, 429)


def once(wants: Sequence[Want]) -> list[Want]:
    """The wants with each record but once: the last want of it, with the attempts of all before."""
    found: dict[tuple[int, bytes], Want] = {}
    for want in wants:
        name = want.route, _SORTED.encode(want.values)
        before = found.get(name)
        attempts = want.attempts if before is None else max(want.attempts, before.attempts)
        found[name] = msgspec.structs.replace(want, attempts=attempts)
    return list(found.values())


def postponed(want: Want, now: datetime, *, may_end: bool = True) -> Want | None:
    """The want for a later run, `None` after its last attempt, where this may be one."""
    attempts = want.attempts + 1
    if attempts >= ATTEMPTS and may_end:
        return None
    attempts = min(attempts, ATTEMPTS - 1)
    wait = min(timedelta(minutes=2**attempts), LONGEST_WAIT)
    return msgspec.structs.replace(want, attempts=attempts, not_before=instant_text(now + wait))


class Details:
    """Asks for the records of one source's routes to these streams."""

    def __init__(
        self, run: Run, fetches: Mapping[int, Fetch], streams: Mapping[str, Stream]
    ) -> None:
        self._run, self._fetches, self._streams = run, fetches, streams

    def groups(self, wants: Sequence[Want]) -> Iterator[list[Want]]:
        """The wants by request: one each, or as many as `batch` says."""
        by_route: dict[int, list[Want]] = {}
        for want in wants:
            by_route.setdefault(want.route, []).append(want)
        for route, group in by_route.items():
            size = self._fetches[route].batch or 1
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

        gone = Rule(status=fetch.gone if len(group) == 1 else [], then="skip")
        form = msgspec.structs.replace(fetch, responses=[*fetch.responses, gone])
        outcome = client.send(form, form.build(values), where=where, decode=decode)
        at = observed_at(outcome.response)
        if outcome.verdict.then == "restart":
            raise _no_restart(group[0].stream, outcome)
        if outcome.decoded is None:
            return Answer([], group if outcome.verdict.rule is gone else [], at)
        records = [self._with_values(group, one) for one in outcome.decoded.records]
        missing = self._missing(fetch, group, records)
        if records and len(missing) == len(group):
            raise ApiError(
                f"the answer has none of the {len(group)} records that were asked for",
                stream=group[0].stream,
                do="check `fetch` of the route",
            )
        return Answer(records, missing, at)

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
        """The record with what names it and its partition, where one request asks for one."""
        if len(group) > 1 or not isinstance(record, dict):
            return record
        form = self._streams[group[0].stream]
        names = {*form.key_columns, *form.context}
        known = {name: value for name, value in group[0].values.items() if name in names}
        return {**known, **record}

    def _missing(self, fetch: Fetch, group: Sequence[Want], records: Sequence[Any]) -> list[Want]:
        """Those of a batch that the answer lacks: they are gone."""
        if fetch.batch is None:
            return [] if records else list(group)
        form = self._streams[group[0].stream]
        names = [name for name in form.key_columns if name in fetch.values]
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


def _no_restart(stream: str, outcome: Outcome) -> ApiError:
    return ApiError(
        f"no pass can begin again for one record: {outcome.verdict.message}",
        stream=stream,
        status=outcome.response.status,
        do="say in `responses` of the route's fetch what this answer means",
    )
