"""Groups of parents whose children are being read, as the bookmark has them."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tap_saas.client.spot import own
from tap_saas.connector import formats
from tap_saas.connector.incremental import Incremental
from tap_saas.errors import StateError
from tap_saas.sync.bookmark import Walk
from tap_saas.sync.partitions import Context, is_group

UNFINISHED = "unfinished"  # the name of the group of those that an earlier pass left out


class Group(msgspec.Struct, array_like=True):
    """A group in flight: those that are done, and of those under way `[context, page token, when
    their reading began]`.
    """

    name: Any
    done: list[Context] = []
    flying: list[tuple[Context, Any, str]] = []


class Parents(msgspec.Struct, array_like=True):
    """The bookmark's `parents`: the watermark of the parents' list, the last reading of all."""

    watermark: Any = None
    full_at: str | None = None

    def __post_init__(self) -> None:
        if self.full_at is not None:
            formats.read_instant(self.full_at)


class Child:
    """One parent whose children are read: from where on, and since when."""

    def __init__(self, group: Group, context: Context, since: Any, begun: str) -> None:
        self.group, self.context, self.since, self.begun = group, context, since, begun
        self.went_on = False


def groups_in(page_token: Any) -> list[Group]:
    """The groups that a bookmark has in flight; raises `ValueError` for what are none."""
    groups = msgspec.convert(page_token or [], list[Group])
    if not all(group.name == UNFINISHED or is_group(group.name) for group in groups):
        raise ValueError("its page token names no parent")
    return groups


def restored(incremental: Incremental, key: Any, stream: str) -> Any:
    """A replication key out of the bookmark.

    Raises:
        StateError: it is none.
    """
    try:
        return None if key is None else incremental.restore(key)
    except (ValueError, TypeError) as error:
        raise StateError(
            f"a key in the bookmark cannot be read ({error})",
            stream=stream,
            do="mend the state, or run with a full refresh",
        ) from error


def keys_of(incremental: Incremental, records: list[Any]) -> list[Any]:
    """The replication keys of the records that have one."""
    field, read = incremental.field, incremental.reader()
    found = []
    for record in records:
        with contextlib.suppress(ValueError):
            found.append(read(None if field is None else field.get(record)))
    return found


def name_of(name: Any) -> str:
    """A group's name as a text: a page of parents is the same page, whatever was before it."""
    if not isinstance(name, list) or len(name) != 3:
        return text_of(name)
    outer, context, token = name
    return text_of([name_of(outer), context, own(token)])


def is_old(walk: Walk, lives: timedelta | None, now: datetime) -> bool:
    """True where the API no longer knows the page tokens of a walk that was left."""
    if lives is None or not walk.page_token:
        return False
    return now - formats.read_instant(walk.token_at or walk.started_at) > lives


def text_of(value: Any) -> str:
    """A context or a group's name as a text that is the same for the same values."""
    return json.dumps(value, separators=(",", ":"), default=str)
