"""Groups of parents whose children are being read, as the bookmark has them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tap_saas.sync.partitions import Context


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


class Child:
    """One parent whose children are read: from where on, and since when."""

    def __init__(self, group: Group, context: Context, since: Any, begun: str) -> None:
        self.group, self.context, self.since, self.begun = group, context, since, begun
        self.went_on = False


def text_of(value: Any) -> str:
    """A context or a group's name as a text that is the same for the same values."""
    return json.dumps(value, separators=(",", ":"), default=str)
