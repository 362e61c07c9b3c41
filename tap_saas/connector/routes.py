"""Where an event goes: `routes:` of an event log or a webhook source, one form for both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import msgspec
from msgspec import UNSET

from tap_saas.connector.formats import ISO8601, InstantFormat
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.pagination import Pagination, Single
from tap_saas.connector.paginator import Count
from tap_saas.connector.place import Kind, Place
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.written import Written, text_of

HASH = "hash"


class EventPlace(Place):
    """A place in an event: `$.a.b`, a bare `name`, or `header:Name` of the request it came in."""

    __slots__ = ()
    kinds: ClassVar[tuple[Kind, ...]] = ("header", "body")
    example = "$.id or header:X-Event-Id"

    def of(self, document: Any, headers: Mapping[str, str]) -> Any:
        """The value; header names are lower case; UNSET where there is none."""
        if self.path is not None:
            return self.path.get(document)
        return headers.get(self.name.lower(), UNSET)


class EventPlaces(Written):
    """A place in an event, or a list of places whose values together are meant."""

    __slots__ = ("places",)

    def __init__(self, places: Sequence[EventPlace]) -> None:
        self.places: Final = tuple(places)
        super().__init__(", ".join(map(str, self.places)))

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a place or a list of them; raises ValueError."""
        return cls(
            [EventPlace.parse(one) for one in (raw if isinstance(raw, list) and raw else [raw])]
        )

    @property
    def has_headers(self) -> bool:
        """Whether a value is in a header."""
        return any(place.path is None for place in self.places)

    def joined(self, document: Any, headers: Mapping[str, str], mark: str) -> str | None:
        """The values that are there as one text; None where the first is not there.

        Raises:
            ValueError: A value is no text and no number.
        """
        found = [place.of(document, headers) for place in self.places]
        if not found or found[0] is UNSET or found[0] is None or found[0] == "":
            return None
        texts = [_scalar_text(value) for value in found if value is not UNSET and value is not None]
        return mark.join(texts)


class EventId(EventPlaces):
    """`header:X-Event-Id`, a list of places whose values together name an event, or `hash`.

    `hash` is a digest of the whole body and the event's time, for an API that gives no id.
    """

    __slots__ = ("is_hash",)

    def __init__(self, places: Sequence[EventPlace], *, is_hash: bool = False) -> None:
        super().__init__(places)
        self.is_hash: Final = is_hash
        if is_hash:
            self.text = HASH

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a place, a list of them, or `hash`; raises ValueError."""
        return cls((), is_hash=True) if raw == HASH else super().parse(raw)


class EventTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{take: $.created, format: epoch_s}`: when an event happened.

    take: where an event says it
    format: how it is written
    """

    take: EventPlace
    format: InstantFormat = ISO8601


class TypePattern(Written):
    """`order.created` or `order.*`: a type of events, * is any text."""

    __slots__ = ("_whole",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._whole = re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a pattern; raises ValueError."""
        return cls(text_of(raw, "a type", "order.created or order.*"))

    def fits(self, type_: str) -> bool:
        """Whether this is such a type."""
        return self._whole.fullmatch(type_) is not None

    def meets(self, other: TypePattern) -> bool:
        """Whether one type may be both."""
        return _meet(self.text, other.text)


class RecordPlace(Written):
    """`$.data.object`, or `{id: $.key, updated_at: $.at}`: a stream's record in an event.

    An object names fields of the stream, by the names that its list has or that its table has.
    """

    __slots__ = ("members", "path")

    def __init__(self, path: Path | None, members: Mapping[str, Path]) -> None:
        self.path: Final = path
        self.members: Final = dict(members)
        told = {name: str(one) for name, one in self.members.items()}
        super().__init__(json.dumps(told) if path is None else str(path))

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read a path or an object of paths; raises ValueError."""
        if isinstance(raw, dict) and raw:
            return cls(None, {str(name): Path.parse(one) for name, one in raw.items()})
        if isinstance(raw, str):
            return cls(Path.parse(raw), {})
        raise ValueError("a record is a path as in $.data.object, or an object as in {id: $.key}")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every path in it."""
        return tuple(self.members.values()) if self.path is None else (self.path,)


class Fetch(RecordsForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: "/orders/{id}", values: {id: $.data.id}}`: an event names a record, we ask for it.

    values: placeholders and where an event has their values; those named as columns of the primary
      key say which record it is
    gone: the statuses that say that there is no such record any more
    batch: how many events one request asks for; the placeholder is then a list of values, and one
      that the answer lacks is gone
    """

    pagination: Pagination = Single()
    values: dict[str, Path] = msgspec.field(default_factory=dict)
    gone: list[int] = msgspec.field(default_factory=lambda: [404, 410])
    batch: Count | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{types: ["order.*"], stream: orders, record: $.data.object, deleted: [order.deleted]}`.

    types: the types of events that take it, * is any text; all unless said
    stream: the stream whose records they bring
    record: where the record is, or an object of paths; beside `fetch` it is what a deleted one is
      known by
    fetch: the request for the record
    deleted: which of the types say that the record is gone, or true for all of them
    """

    types: list[TypePattern] = []
    stream: str
    record: RecordPlace | None = None
    fetch: Fetch | None = None
    deleted: list[TypePattern] | bool = False

    def __post_init__(self) -> None:
        if self.record is None and self.fetch is None:
            raise ValueError("a route brings a record; say `record` or `fetch`")

    def takes(self, type_: str | None) -> bool:
        """Whether events of this type go here."""
        return not self.types or _any_fits(self.types, type_)

    def deletes(self, type_: str | None) -> bool:
        """Whether events of this type say that the record is gone."""
        if isinstance(self.deleted, bool):
            return self.deleted
        return _any_fits(self.deleted, type_)

    @property
    def can_delete(self) -> bool:
        """Whether some type says that the record is gone."""
        return bool(self.deleted)

    @property
    def only_deletes(self) -> bool:
        """Whether every type says so."""
        return self.deleted is True


def _any_fits(patterns: Sequence[TypePattern], type_: str | None) -> bool:
    return type_ is not None and any(pattern.fits(type_) for pattern in patterns)


def _meet(one: str, other: str) -> bool:
    """Whether a text fits both patterns: walked letter by letter, each * may take any number."""
    waiting, seen = [(0, 0)], {(0, 0)}
    while waiting:
        i, j = waiting.pop()
        a, b = one[i : i + 1], other[j : j + 1]
        if not a and not b:
            return True
        steps = [(i + 1, j)] if a == "*" else []
        steps += [(i, j + 1)] if b == "*" else []
        if a and b and (a == b or "*" in (a, b)):
            steps.append((i + (a != "*"), j + (b != "*")))
        new = [step for step in steps if step not in seen]
        seen.update(new)
        waiting += new
    return False


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool | dict | list):
        raise ValueError(f"{type(value).__name__} is no text")
    return str(value)
