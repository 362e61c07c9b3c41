"""The partitions of a stream: one context for each account, region or parent record."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from tap_saas.connector.exchange import Page
from tap_saas.connector.model import Stream
from tap_saas.connector.parents import Parent

Context: TypeAlias = dict[str, Any]
Fetch: TypeAlias = Callable[[Stream, Context, Any, Any], Iterator[Page]]
"""Pages of a list: (stream, context, since, page token) -> pages with records as JSON objects."""


class Partition(msgspec.Struct, frozen=True):
    """One partition: the values that name it, and where its parent says since when there is one.

    With `batch` the values are lists, and name nothing.
    """

    context: Context
    born: Any = None


class Partitions:
    """Walks the contexts of a stream page by page of its parent's list; they are never all kept.

    A **group** is the contexts that one page of parents gives, named by a JSON value from which the
    walk can go on: `null` for contexts out of settings alone, else `[parent's group, parent's
    context, page token]`.
    """

    def __init__(
        self, streams: Mapping[str, Stream], values: Mapping[str, Any], fetch: Fetch
    ) -> None:
        self._streams, self._values, self._fetch = streams, values, fetch

    def groups(
        self, stream: Stream, start: Any = None, since: Any = None
    ) -> Iterator[tuple[Any, list[Partition]]]:
        """The groups of a stream's partitions, from the group `start` on.

        `since` asks only for parents that changed since.
        """
        parent = parent_stream(stream)
        if parent is None or parent.stream is None:
            yield None, self._product(stream, [Partition({})])
            return
        outer, inner, token = start or (None, None, None)
        above = self._streams[parent.stream]
        for group, partitions in self.groups(above, outer):
            contexts = [partition.context for partition in partitions]
            if inner is not None and inner in contexts:
                contexts = contexts[contexts.index(inner) :]
            for context in contexts:
                first = token if context == inner else None
                for page in self._fetch(above, context, since, first):
                    below = _below(parent, context, page)
                    yield [group, context, page.token], self._product(stream, below)
            inner = token = None

    def _product(self, stream: Stream, partitions: list[Partition]) -> list[Partition]:
        """The partitions crossed with the lists of settings that the stream names."""
        lists: list[list[Context]] = []
        if stream.for_each is not None:
            each = stream.for_each
            lists.append([{each.as_: value} for value in self._values.get(each.setting) or []])
        lists += [
            [{str(parent.as_): value} for value in parent.items(self._values)]
            for parent in stream.parents
            if parent.stream is None
        ]
        return [
            msgspec.structs.replace(
                partition,
                context={name: value for part in parts for name, value in part.items()},
            )
            for partition in partitions
            for parts in itertools.product([partition.context], *lists)
        ]


def _below(parent: Parent, context: Context, page: Page) -> list[Partition]:
    """The partitions that the records of a page of parents name."""
    found = [
        Partition(
            {**context, **values},
            None if parent.since is None else parent.since.get(record),
        )
        for record in page.records
        if (values := parent.contexts(record)) is not None
    ]
    if parent.batch is None:
        return found
    batches = [found[at : at + parent.batch] for at in range(0, len(found), parent.batch)]
    return [
        Partition({**context, **{n: [one.context[n] for one in batch] for n in parent.values}})
        for batch in batches
    ]


def is_group(value: Any) -> bool:
    """True for the name of a group as `Partitions` gives it."""
    if value is None:
        return True
    return (
        isinstance(value, list)
        and len(value) == 3
        and is_group(value[0])
        and (value[1] is None or isinstance(value[1], dict))
    )


def parent_stream(stream: Stream) -> Parent | None:
    """The parent that is a stream, if any."""
    return next((parent for parent in stream.parents if parent.stream is not None), None)


def is_partitioned(stream: Stream) -> bool:
    """True for a stream that is read once for each of several contexts."""
    return bool(stream.parents) or stream.for_each is not None
