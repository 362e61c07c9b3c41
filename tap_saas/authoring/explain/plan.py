"""The plan of one stream: its requests, its runs in numbers, its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec

from tap_saas.authoring.explain import asking, words
from tap_saas.authoring.explain.answers import answers
from tap_saas.authoring.explain.assumed import DAY_S, Assumed
from tap_saas.authoring.explain.course import Course, figures, has_own_buckets, often_s, uses
from tap_saas.authoring.explain.ends import pages_at_once
from tap_saas.authoring.explain.explanation import Figures, StreamPlan
from tap_saas.authoring.explain.flow import flow
from tap_saas.authoring.explain.gone import gone
from tap_saas.authoring.explain.imagined import Asked, Lists
from tap_saas.authoring.explain.pace import claims_of
from tap_saas.authoring.explain.pushed import pushed
from tap_saas.authoring.explain.rehearsal import Checkpoint, Rehearsal
from tap_saas.authoring.explain.subject import Subject, token_fields
from tap_saas.authoring.explain.troubles import troubles
from tap_saas.authoring.explain.volume import YEAR, Volume, watermark_of
from tap_saas.client.limiter import Buckets, Limiter
from tap_saas.connector.model import Stream
from tap_saas.sync.partitions import parent_stream
from tap_saas.sync.run import Run

SMALL = 3
SMALL_WINDOWS = 5
SHOWN = 2


class Planner:
    """Rehearses a first and a later run of one stream.

    Raises: `TapSaasError` where the runtime refuses to make such a run.
    """

    def __init__(
        self, subject: Subject, stream: Stream, assumed: Assumed, run: Run, limiter: Limiter
    ) -> None:
        self.stream, self._subject, self._run, self._limiter = stream, subject, run, limiter
        self._assumed = with_beginning(stream, as_often_as_allowed(stream, assumed))
        self._has_beginning = self._assumed.start_date is assumed.start_date
        self._volume = volume = Volume(subject, stream, self._assumed, run)
        self._during = Checkpoint(stream.name)
        lists = volume.lists(volume.first_windows(), later=False)
        self._asked_first = self._rehearse(lists, self._during, self._assumed)
        self._after = self._after_small_run()
        self._watermark = watermark_of(stream, self._after.data)
        lists = volume.lists(volume.later_windows(self._watermark), later=True)
        later = msgspec.structs.replace(self._assumed, now=self._assumed.later)
        checkpoint = Checkpoint(stream.name, self._after.data)
        self._asked_later = self._rehearse(lists, checkpoint, later)
        self._claims = self._spent()

    def first(self) -> Course:
        """The first run of all."""
        tokens = len(asking.token_requests(self.stream, self._subject.values))
        return self._course(later=False, tokens=tokens)

    def later(self) -> Course:
        """Each later run, its token still alive."""
        return self._course(later=True, tokens=0)

    def plan(self) -> StreamPlan:
        """All about the stream."""
        stream, values, assumed = self.stream, self._subject.values, self._assumed
        streams = self._subject.connector.streams
        first, later = self.first(), self.later()
        whole = figures([first], assumed), figures([later], assumed)
        connector = self._subject.connector
        often = often_s([later], whole[1].seconds)
        needed = uses([later], assumed)
        return StreamPlan(
            stream=stream.name,
            answers=answers(
                stream,
                self._claims.get(stream.name, ()),
                page_size=assumed.page_size,
                repeated=self._repeated(),
                start_date=assumed.start_date,
                parallel=assumed.parallel,
            ),
            gone=gone(connector, stream),
            pushed=pushed(connector, stream),
            proofs=asking.proofs(stream, values),
            first_requests=[
                *asking.token_requests(stream, values),
                *asking.shown(self._asked_first, streams, values, SHOWN),
            ],
            later_requests=asking.shown(self._asked_later, streams, values, SHOWN),
            flow=flow(stream, self._asked_first),
            during={"bookmarks": {stream.name: self._during.shown}},
            after={"bookmarks": {stream.name: self._after.shown}},
            first=whole[0],
            later=whole[1],
            rare=self._rare(),
            often_s=often,
            uses=needed,
            warnings=[*self._beginning(), *troubles(stream, assumed, self._volume, *whole)],
        )

    def _beginning(self) -> list[str]:
        """The warning about windows that the runtime would refuse to read."""
        if self._has_beginning:
            return []
        taken = f"{self._assumed.start_date:%Y-%m-%d} is taken here"
        do = "set start_date, or incremental.first in the connector"
        return [f"windows need a place to begin, the run ends with an error: {do}; {taken}"]

    def _repeated(self) -> int:
        """How many records of a page the runtime asks for once more with the next page."""
        own = [one for one in self._asked_first if one.stream == self.stream.name]
        shared = [a.ends_at - b.begins_at for a, b in pairwise(own) if b.page == a.page + 1]
        return max(shared, default=0)

    def _rehearse(
        self, lists: Mapping[str, Lists], checkpoint: Checkpoint, assumed: Assumed
    ) -> list[Asked]:
        rehearsal = Rehearsal(self._subject, self.stream, lists, assumed.page_size)
        return rehearsal.run(checkpoint, assumed.now, start_date=assumed.start_date, pages=SHOWN)

    def _after_small_run(self) -> Checkpoint:
        """The checkpoint after a first run that found a few records."""
        incremental, start = self.stream.incremental, self._assumed.start_date
        if incremental is not None and incremental.window is not None:
            start = self._volume.first_windows()[-SMALL_WINDOWS:][0][0]  # type: ignore[assignment]
        small = msgspec.structs.replace(self._assumed, records={"": SMALL}, start_date=start)
        volume = Volume(self._subject, self.stream, small, self._run)
        lists = volume.lists(volume.first_windows(), later=False)
        checkpoint = Checkpoint(self.stream.name)
        rehearsal = Rehearsal(self._subject, self.stream, lists, small.page_size)
        rehearsal.run(checkpoint, small.now, start_date=start)
        return checkpoint

    def _spent(self) -> dict[str, Buckets]:
        """What a request for each stream of the pass spends."""
        found: dict[str, Buckets] = {}
        for one in self._asked_first:
            form = self._subject.connector.streams[one.stream]
            values: dict[str, Any] = {**self._subject.values, **one.context}
            values["token"] = token_fields(form)
            found.setdefault(one.stream, claims_of(self._limiter, form, one.request, values))
        return found

    def _rare(self) -> dict[str, Figures]:
        """The runs that read everything once more, a schema being known by then."""
        stream, found = self.stream, []
        parent = parent_stream(stream)
        if parent is not None and parent.changed is not None:
            every = words.duration(parent.changed.full_every)
            found.append(f"every {every} those of all {parent.stream}")
        if stream.deletes is not None and stream.deletes.sweep is not None:
            found.append(f"every {words.duration(stream.deletes.sweep.every)} a sweep")
        if not found:
            return {}
        whole = msgspec.structs.replace(self.first(), tokens=0)
        known = msgspec.structs.replace(whole.requests, sample={})
        one = figures([msgspec.structs.replace(whole, requests=known)], self._assumed)
        return dict.fromkeys(found, one)

    def _course(self, *, later: bool, tokens: int) -> Course:
        stream, volume = self.stream, self._volume
        partitions = volume.later_partitions if later else volume.partitions
        found = volume.later_windows(self._watermark) if later else volume.first_windows()
        lanes = min(self._assumed.parallel, max(1, partitions) * len(found))
        return Course(
            stream=stream.name,
            records=volume.records(later=later),
            requests=volume.later(self._watermark) if later else volume.first(),
            tokens=tokens,
            claims=self._claims,
            lists=max(1, partitions) if has_own_buckets(stream) else 1,
            at_once=lanes * pages_at_once(stream.pagination),
        )


def as_often_as_allowed(stream: Stream, assumed: Assumed) -> Assumed:
    """The same for a stream that says `every`: runs that come earlier leave it out."""
    if stream.every is None or stream.every.total_seconds() <= assumed.interval_s:
        return assumed
    rarely = DAY_S / stream.every.total_seconds()
    return msgspec.structs.replace(assumed, runs_per_day=rarely)


def with_beginning(stream: Stream, assumed: Assumed) -> Assumed:
    """The same with a start date where windows need one and the connector says none."""
    incremental = stream.incremental
    if incremental is None or incremental.window is None:
        return assumed
    if incremental.since(None, assumed.start_date) is not None:
        return assumed
    return msgspec.structs.replace(assumed, start_date=assumed.now - YEAR)
