"""How it is known what is gone: `deletes:` of a stream."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tap_saas.connector.place import Condition
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.units import Duration, Percent


class Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{every: 7d, max: 5%, allow: 0}`: a full pass, after which what it did not see is gone.

    every: how often; when it is due, the stream's run is that full pass
    max: how much smaller than the last complete pass it may be to count, as a part of that
    allow: how many of its records may be rejected for it to count
    """

    every: Duration
    max: Percent = Percent(0.05)
    allow: Annotated[int, Meta(ge=0)] = 0


class DeletedList(RecordsForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: /orders/deleted, records: $.data}`: the API's own list of what is gone.

    Its records hold the stream's primary key, and its version where that is a field. What is not
    said is as the stream says it, but for `params`; {start} and {end} are those of the stream's
    pass.
    """


class Deletes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{flag: $.deleted, sweep: {every: 7d}}`: how it is known what is gone; one or more of these.

    flag: what holds for a record that is gone and still listed
    list: the request for a list of those that are gone
    sweep: a full pass now and then, after which what it did not see is gone: the run after it marks
      the rows, but for those written in the ten minutes before it
    """

    flag: Condition | None = None
    list_: DeletedList | None = msgspec.field(name="list", default=None)
    sweep: Sweep | None = None

    def __post_init__(self) -> None:
        if self.flag is None and self.list_ is None and self.sweep is None:
            raise ValueError("this says nothing of what is gone; say `flag`, `list` or `sweep`")
