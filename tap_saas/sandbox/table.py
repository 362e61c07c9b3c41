"""The records of one stream in memory: about 22 bytes a record, texts are made when asked for.

A list is kept as one sorted array of keys, `position << 23 | slot`: the position is the record's
`updated_at` in milliseconds, so the array is the index (updated_at, id) and any page is found by
bisection. A stale copy has a slot of its own, from the top of the slots down, and a position that
is not its `updated_at`: it stands where a lagging replica shows it. A deleted record keeps its slot
and its texts; it is in no list but `with_deleted`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Protocol

from tap_saas.sandbox.instants import iso_ms
from tap_saas.sandbox.records import Draft, Kind

SLOT_BITS = 23
SLOT_MASK = (1 << SLOT_BITS) - 1
MAX_RECORDS = 1 << 22
CACHE_BYTES = 16 * 1024 * 1024


class Listing(Protocol):
    """What a list is served from."""

    @property
    def keys(self) -> Sequence[int]:
        """Every entry as `position << 23 | slot`, sorted."""

    def by_id(self, start: int, stop: int) -> Sequence[int]:
        """The slots of `keys[start:stop]` that have an id of their own, by id."""

    def slot_of(self, text: str) -> int:
        """The slot of an id; ValueError when it is no id of this list."""

    def render(self, slot: int) -> bytes:
        """The record as JSON."""


class Fixed:
    """A short list whose texts are given; `nameless` slots have no id of their own."""

    def __init__(
        self, positions: Sequence[int], texts: Sequence[bytes], nameless: Iterable[int] = ()
    ) -> None:
        self.keys: Sequence[int] = sorted(
            position << SLOT_BITS | slot for slot, position in enumerate(positions)
        )
        self._texts = texts
        self._nameless = frozenset(nameless)

    def by_id(self, start: int, stop: int) -> Sequence[int]:
        slots = (key & SLOT_MASK for key in self.keys[start:stop])
        return sorted(slot for slot in slots if slot not in self._nameless)

    def slot_of(self, text: str) -> int:
        return int(text) - 1

    def render(self, slot: int) -> bytes:
        return self._texts[slot]


class Table:
    """The records of one stream, generated at first and changed later. Not thread-safe."""

    def __init__(self, kind: Kind, n: int) -> None:
        self.kind = kind
        self._generated = n
        self._inserted = array("Q")
        self._extended = bytearray(n)
        self._copies: dict[int, bytes] = {}
        self._lagging: dict[int, int] = {}
        self._cache: dict[int, bytes] = {}
        self._cached_bytes = 0
        self._ids: tuple[int, int, int, Sequence[int]] | None = None
        self._shown: tuple[int, Listing] | None = None
        self.generation = 0
        self.deleted: dict[int, int] = {}
        updated = kind.updated
        self.versions = array("Q", [updated(slot) for slot in range(n)])
        self.revisions = array("I", [1]) * n
        self.keys = array("Q", sorted(v << SLOT_BITS | i for i, v in enumerate(self.versions)))

    def __len__(self) -> int:
        return len(self.versions)

    def slot_of(self, text: str) -> int:
        return self.kind.slot_of(text)

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self) - len(self.deleted)

    def is_there(self, slot: int) -> bool:
        """Whether there is such a record, and it is not deleted."""
        return 0 <= slot < len(self) and slot not in self.deleted

    def slots(self) -> Sequence[int]:
        """The slots of all records, sorted."""
        if not self.deleted:
            return range(len(self))
        return [slot for slot in range(len(self)) if slot not in self.deleted]

    def by_id(self, start: int, stop: int) -> Sequence[int]:
        if start == 0 and stop == len(self.keys) and not self.deleted:
            return range(len(self))
        wanted = (self.generation, start, stop)
        if self._ids is None or self._ids[:3] != wanted:
            slots = (key & SLOT_MASK for key in self.keys[start:stop])
            self._ids = (*wanted, array("I", sorted(s for s in slots if s < len(self))))
        return self._ids[3]

    def created(self, slot: int) -> int:
        """When the record was created, milliseconds."""
        if slot < self._generated:
            return self.kind.created(slot)
        return self._inserted[slot - self._generated]

    def draft(self, slot: int) -> Draft:
        """What the record is made of as it is now, or as it was when it was deleted."""
        return Draft(
            slot,
            self.revisions[slot],
            self.created(slot),
            self.versions[slot],
            bool(self._extended[slot]),
        )

    def render(self, slot: int) -> bytes:
        text = self._cache.get(slot) or self._copies.get(slot)
        if text is not None:
            return text
        text = self.kind.render(self.draft(slot))
        if self._cached_bytes > CACHE_BYTES:
            self._cache.clear()
            self._cached_bytes = 0
        self._cache[slot] = text
        self._cached_bytes += len(text) + 150
        return text

    def update(self, slots: Sequence[int], stamps: Sequence[int], *, extend: bool = False) -> None:
        """Give each record a new version; `extend` lets it gain the new field.

        The stamps are sorted and later than every position in the list.
        """
        self._take_out(sorted(self._place(slot) for slot in slots))
        for slot, stamp in zip(slots, stamps, strict=True):
            self.versions[slot] = stamp
            self.revisions[slot] += 1
            self._extended[slot] |= extend
            self._cache.pop(slot, None)
        self._append(slots, stamps)

    def insert(self, stamps: Sequence[int]) -> Sequence[int]:
        """Create a record at each stamp and return their slots."""
        slots = range(len(self), len(self) + len(stamps))
        self._inserted.extend(stamps)
        self.versions.extend(stamps)
        self.revisions.extend([0] * len(stamps))
        self._extended.extend(bytes(len(stamps)))
        self._append(slots, stamps)
        return slots

    def delete(self, slots: Sequence[int], stamps: Sequence[int]) -> None:
        """Take records out of the list, stale copies of them too."""
        copies = [self._lagging.pop(slot) for slot in slots if slot in self._lagging]
        places = [self._place(slot) for slot in slots]
        places += [bisect_left(self.keys, key) for key in copies]
        self._take_out(sorted(places))
        self.deleted.update(zip(slots, stamps, strict=True))
        self.generation += 1

    def restore(self, slots: Sequence[int], stamps: Sequence[int]) -> None:
        """Bring deleted records back, each as a new version."""
        for slot, stamp in zip(slots, stamps, strict=True):
            del self.deleted[slot]
            self.versions[slot] = stamp
            self.revisions[slot] += 1
            self._cache.pop(slot, None)
        self._append(slots, stamps)

    def with_deleted(self) -> Listing:
        """The list with the deleted records in it, marked, at the instants of their deletion."""
        if self._shown is None or self._shown[0] != self.generation:
            self._shown = (self.generation, Marked(self))
        return self._shown[1]

    def lag(self, stamps: Sequence[int]) -> Sequence[int]:
        """Serve the first version of the first records once more, at the end of the list.

        Only records that were changed since they were created, each at most once; returns their
        slots, which may be fewer than there are stamps.
        """
        if len(self._copies) + len(stamps) > MAX_RECORDS:
            raise ValueError(f"a stream holds at most {MAX_RECORDS} stale copies")
        slots: list[int] = []
        for key in self.keys:
            slot = key & SLOT_MASK
            if len(slots) == len(stamps):
                break
            if slot < len(self) and slot not in self._lagging and self.revisions[slot]:
                slots.append(slot)
        copies = [SLOT_MASK - len(self._copies) - i for i in range(len(slots))]
        for slot, copy in zip(slots, copies, strict=True):
            created = self.created(slot)
            self._copies[copy] = self.kind.render(Draft(slot, 0, created, created, False))
        keys = (at << SLOT_BITS | copy for at, copy in zip(stamps, copies, strict=False))
        self._lagging.update(zip(slots, keys, strict=True))
        self._append(copies, stamps[: len(slots)])
        return slots

    def _place(self, slot: int) -> int:
        return bisect_left(self.keys, self.versions[slot] << SLOT_BITS | slot)

    def _take_out(self, places: Sequence[int]) -> None:
        if len(places) <= 8:
            for place in reversed(places):
                del self.keys[place]
            return
        kept, start = array("Q"), 0
        for place in places:
            kept.extend(self.keys[start:place])
            start = place + 1
        kept.extend(self.keys[start:])
        self.keys = kept

    def _append(self, slots: Sequence[int], stamps: Sequence[int]) -> None:
        pairs = zip(slots, stamps, strict=True)
        self.keys.extend(sorted(stamp << SLOT_BITS | slot for slot, stamp in pairs))
        self.generation += 1


class Marked:
    """A table with its deleted records in the list: `is_deleted` says which they are."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._deleted = dict(table.deleted)
        gone = (stamp << SLOT_BITS | slot for slot, stamp in self._deleted.items())
        self.keys: Sequence[int] = array("Q", sorted([*table.keys, *gone]))

    def by_id(self, start: int, stop: int) -> Sequence[int]:
        slots = (key & SLOT_MASK for key in self.keys[start:stop])
        return sorted(slot for slot in slots if slot < len(self._table))

    def slot_of(self, text: str) -> int:
        return self._table.slot_of(text)

    def render(self, slot: int) -> bytes:
        stamp = self._deleted.get(slot)
        if stamp is None:
            return self._table.render(slot)[:-1] + b',"is_deleted":false}'
        text = self._table.kind.render(self._table.draft(slot)._replace(updated=stamp))
        return text[:-1] + f',"is_deleted":true,"deleted_at":"{iso_ms(stamp)}"}}'.encode()
