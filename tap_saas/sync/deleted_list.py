"""The API's own list of what is gone, read before the stream's pass: its watermark then covers both
lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from tap_saas.client.pager import RestartPass, SkipPartition, walk
from tap_saas.client.sender import Where
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.deletes import DeletedList
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.formats import normalise_instant
from tap_saas.connector.identity import Identity, IdentityError
from tap_saas.connector.model import Stream
from tap_saas.connector.responses import observed_at
from tap_saas.errors import ApiError
from tap_saas.sync.rejects import Reject
from tap_saas.sync.run import Run
from tap_saas.sync.shape import DELETED, Tombstone

AHEAD_BYTES = 64 * 2**20


def pages(run: Run, stream: Stream, form: DeletedList, since: Any) -> Iterator[Page]:
    """The pages of the list, from the replication key `since` on.

    Raises:
        ApiError: the API answers wrongly, or not at all, or a rule leaves the list out: the pass
            that follows would forget what was deleted.
    """
    try:
        yield from _pages(run, stream, form, since)
    except (SkipPartition, RestartPass) as verdict:
        raise ApiError(
            f"the list of what is deleted cannot be left out: {verdict}",
            stream=stream.name,
            do="say in deletes.list.responses what this answer means, done for one",
        ) from verdict


def _pages(run: Run, stream: Stream, form: DeletedList, since: Any) -> Iterator[Page]:
    incremental = stream.incremental
    bounds = {} if incremental is None else incremental.values(since, None)
    where = Where(stream=stream.name)
    values = {**run.values, **bounds, "now": run.now(), "token": run.client.token(form, where)}

    def decode(response: Response) -> Decoded:
        return Decoded(read_records(form.records, response), "dict")

    return walk(
        run.client,
        form,
        form.build(values),
        token=None,
        decode=decode,
        where=where,
        ahead_bytes=AHEAD_BYTES,
    )


def tombstones(
    stream: Stream, kinds: Mapping[str, str], page: Page
) -> tuple[list[Tombstone], list[Reject]]:
    """What the records of a page say is gone, and those that do not say what."""
    identity = Identity(stream, kinds)
    at = observed_at(page.response).replace(microsecond=999_999)
    deleted_at = normalise_instant(at.isoformat())
    found, bad = [], []
    for record in page.records:
        if not isinstance(record, dict):
            bad.append(Reject("not_object", "the record is not an object", record))
            continue
        try:
            known = identity.tombstone(record, _happened(identity, at))
        except IdentityError as error:
            bad.append(Reject(error.kind, str(error), record, f"/{error.field}"))
            continue
        found.append(Tombstone({**known, DELETED: deleted_at}))
    return found, bad


def _happened(identity: Identity, at: datetime) -> datetime | None:
    """When it was deleted, as far as is known: not later than now, where nothing else orders it."""
    return at if identity.is_observed else None
