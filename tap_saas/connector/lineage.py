"""Which values a stream's partitions have: its own and those of the streams above it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tap_saas.connector.model import Stream


def ancestors(streams: Mapping[str, Stream], name: str) -> Iterator[str]:
    """The streams above one, nearest first, up to an unknown one or the first that comes again."""
    seen = {name}
    waiting = list(_parents(streams, name))
    while waiting:
        above = waiting.pop(0)
        if above not in seen:
            seen.add(above)
            yield above
            waiting += _parents(streams, above)


def is_own_ancestor(streams: Mapping[str, Stream], name: str) -> bool:
    """Whether the way up from a stream comes back to it."""
    return any(name in _parents(streams, above) for above in (name, *ancestors(streams, name)))


def shares_for_each(streams: Mapping[str, Stream], name: str) -> bool:
    """Whether a stream above is already read once for each value of the same setting."""
    for_each = streams[name].for_each
    return for_each is not None and any(
        streams[above].for_each == for_each for above in ancestors(streams, name)
    )


def context(streams: Mapping[str, Stream], name: str) -> tuple[str, ...]:
    """The names of a partition's values, outermost first."""
    return tuple(dict.fromkeys(_names(streams, name, frozenset())))


def columns(streams: Mapping[str, Stream], name: str) -> tuple[str, ...]:
    """The names of those values that become columns: one value each, so not those of a batch."""
    above = (name, *ancestors(streams, name))
    parents = [parent for one in above for parent in streams[one].parents]
    batched = {inner for parent in parents if parent.batch for inner in parent.names}
    return tuple(inner for inner in context(streams, name) if inner not in batched)


def _names(streams: Mapping[str, Stream], name: str, below: frozenset[str]) -> Iterator[str]:
    stream = streams[name]
    for parent in stream.parents:
        above = parent.stream
        if above is not None and above in streams and above not in below | {name}:
            yield from _names(streams, above, below | {name})
    if stream.for_each is not None:
        yield stream.for_each.as_
    for parent in stream.parents:
        yield from parent.names


def _parents(streams: Mapping[str, Stream], name: str) -> tuple[str, ...]:
    if name not in streams:
        return ()
    named = [parent.stream for parent in streams[name].parents if parent.stream is not None]
    return tuple(above for above in named if above in streams)
