"""The data of the sandbox: made from a seed, changed on request, with its truth.

Every change is stamped with the clock in whole milliseconds, later than all stamps before it and
never in the past: a change of many records runs ahead of the clock, by a second at most, and
`ahead_s` says how long until its last stamp has passed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from tap_saas.sandbox import oddities
from tap_saas.sandbox.instants import iso_ms
from tap_saas.sandbox.log import SUBJECTS, Log
from tap_saas.sandbox.records import Customers, Events, Orders
from tap_saas.sandbox.table import MAX_RECORDS, SLOT_BITS, Fixed, Listing, Table
from tap_saas.sandbox.truth import Truth, tell

STREAMS = ("customers", "orders", "events")
LISTS = (*STREAMS, "oddities")
LINES = "order_lines"
MAX_AHEAD_MS = 1_000
MAX_KEPT_LINES = 100_000


class Change(NamedTuple):
    """The ids that a change touched."""

    updated: list[str]
    inserted: list[str]
    deleted: list[str]
    restored: list[str]


def json_id(text: str) -> str:
    """An id as JSON has it: a number where it is one."""
    return text if text.isdigit() else f'"{text}"'


def now_ms() -> int:
    """Milliseconds since 1970, from the system's clock."""
    return time.time_ns() // 1_000_000


class World:
    """Customers, orders with lines, events, oddities; the log of what happened to the first two.

    Thread-safe; hold `lock` to read a list or the log.
    """

    def __init__(
        self,
        *,
        seed: int = 7,
        customers: int = 300,
        orders: int = 1_000,
        events: int = 5_000,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self.lock = threading.RLock()
        self._clock_ms = clock_ms
        self._random = random.Random(seed)  # noqa: S311 - a repeatable world, no secret
        self._orders = Orders(seed, orders, customers)
        self._tables = {
            "customers": Table(Customers(seed, customers), customers),
            "orders": Table(self._orders, orders),
            "events": Table(Events(seed, events), events),
        }
        self._oddities = oddities.listing()
        self.log = Log()
        newest = (table.keys[-1] >> SLOT_BITS for table in self._tables.values() if len(table))
        self._last_ms = max(newest, default=0)
        self._told: dict[str, tuple[int, Truth]] = {}

    def sizes(self) -> dict[str, int]:
        """How many records each stream has."""
        return {name: table.count for name, table in self._tables.items()}

    def listing(self, stream: str, *, with_deleted: bool = False) -> Listing:
        """The list of a stream; KeyError when there is none. Oddities are never deleted."""
        if stream == "oddities":
            return self._oddities
        table = self._tables[stream]
        return table.with_deleted() if with_deleted else table

    def deleted(self, stream: str) -> Listing:
        """What is deleted and when, in that order; in no list of ids."""
        table = self._tables[stream]
        id_of = table.kind.id_of
        texts = [
            f'{{"id":{json_id(id_of(slot))},"updated_at":"{at}","deleted_at":"{at}"}}'.encode()
            for slot, at in ((slot, iso_ms(stamp)) for slot, stamp in table.deleted.items())
        ]
        return Fixed(list(table.deleted.values()), texts)

    def record(self, stream: str, id_: str) -> bytes | None:
        """One record as JSON, None when there is none of that id."""
        table = self._tables[stream]
        try:
            slot = table.slot_of(id_)
        except ValueError:
            return None
        return table.render(slot) if table.is_there(slot) else None

    def lines(self, order_id: str) -> Listing | None:
        """The lines of an order, None when there is no such order."""
        table = self._tables["orders"]
        try:
            slot = table.slot_of(order_id)
        except ValueError:
            return None
        if not table.is_there(slot):
            return None
        updated, revision = table.versions[slot], table.revisions[slot]
        numbers = range(1, self._orders.lines(slot) + 1)
        texts = [self._orders.line(slot, n, revision, updated) for n in numbers]
        return Fixed([updated] * len(texts), texts)

    def change(
        self,
        stream: str,
        *,
        update: int | Sequence[str] = 0,
        insert: int = 0,
        delete: int | Sequence[str] = 0,
        restore: int | Sequence[str] = 0,
        new_field: bool = False,
    ) -> Change:
        """Update records, create some, delete some, bring some deleted ones back, in this order.

        A number takes records by chance; with `new_field` the updated gain it.
        Raises: ValueError when the stream would hold too many, or has no such record.
        """
        table = self._tables[stream]
        with self.lock:
            updated = self._chosen(table, update, table.slots())
            created = range(len(table), len(table) + insert)
            deleted = self._chosen(table, delete, [*table.slots(), *created] if delete else ())
            restored = self._chosen(table, restore, list(table.deleted))
            touched = (updated, created, deleted, restored)
            n = sum(map(len, touched))
            if len(table) + insert > MAX_RECORDS or not self.log.has_room(n):
                raise ValueError(f"a stream holds at most {MAX_RECORDS} records")
            stamps = iter(self._stamps(n))
            for verb, slots in zip(
                ("updated", "created", "deleted", "restored"), touched, strict=True
            ):
                self._happen(
                    stream, verb, slots, list(islice(stamps, len(slots))), extend=new_field
                )
        return Change(*([table.kind.id_of(slot) for slot in slots] for slots in touched))

    def _chosen(
        self, table: Table, wanted: int | Sequence[str], among: Sequence[int]
    ) -> Sequence[int]:
        """So many of the slots, taken by chance, or those of the ids."""
        if isinstance(wanted, int):
            return self._random.sample(among, min(wanted, len(among)))
        known = set(among)
        slots = [table.slot_of(id_) for id_ in wanted]
        for slot, id_ in zip(slots, wanted, strict=True):
            if slot not in known:
                raise ValueError(f"there is no {id_} of which this can be done")
        return slots

    def _happen(
        self, stream: str, verb: str, slots: Sequence[int], stamps: Sequence[int], *, extend: bool
    ) -> None:
        """Change the table, and write it into the log."""
        table = self._tables[stream]
        if verb == "updated":
            table.update(slots, stamps, extend=extend)
        elif verb == "created":
            table.insert(stamps)
        elif verb == "deleted":
            table.delete(slots, stamps)
        else:
            table.restore(slots, stamps)
        subject = SUBJECTS.get(stream)
        if subject is not None:
            for slot, stamp in zip(slots, stamps, strict=True):
                self.log.add(f"{subject}.{verb}", table.kind, table.draft(slot), stamp)

    def late(self, stream: str, n: int) -> list[str]:
        """Serve an older version of `n` records once more at the end of the list; their ids."""
        table = self._tables[stream]
        with self.lock:
            slots = table.lag(self._stamps(n))
        return [table.kind.id_of(slot) for slot in slots]

    def ahead_s(self) -> float:
        """Seconds until the last stamp has passed, 0 when it has."""
        return max(0.0, (self._last_ms - self._clock_ms()) / 1_000)

    def truth(self, stream: str) -> Truth:
        """Keys and newest versions of a stream, `order_lines` and `oddities` too."""
        with self.lock:
            generation = self._generation(stream)
            told = self._told.get(stream)
            if told is not None and told[0] == generation:
                return told[1]
            records = self._records(stream)
        truth = tell(records)
        if len(truth.lines) <= MAX_KEPT_LINES:
            self._told[stream] = (generation, truth)
        return truth

    def _generation(self, stream: str) -> int:
        if stream == "oddities":
            return 0
        return self._tables["orders" if stream == LINES else stream].generation

    def _records(self, stream: str) -> Iterator[tuple[str, int]]:
        """(key, version) of every record, from a copy of the versions as they are now."""
        if stream == "oddities":
            return iter(
                (str(oddities.key(slot)), oddities.version_ms(slot))
                for slot, oddity in enumerate(oddities.ODDITIES)
                if oddity.expect == "row"
            )
        table = self._tables["orders" if stream == LINES else stream]
        versions, id_of = table.versions[:], table.kind.id_of
        slots = table.slots()
        if stream != LINES:
            return ((id_of(slot), versions[slot]) for slot in slots)
        return (
            (f"{id_of(slot)}:{number}", versions[slot])
            for slot in slots
            for number in range(1, self._orders.lines(slot) + 1)
        )

    def _stamps(self, n: int) -> Sequence[int]:
        """Growing by a millisecond each, several to one only where n is over a thousand."""
        first = max(self._clock_ms(), self._last_ms + 1)
        if n > MAX_AHEAD_MS:
            stamps: Sequence[int] = [first + i * MAX_AHEAD_MS // n for i in range(n)]
        else:
            stamps = range(first, first + n)
        if n:
            self._last_ms = stamps[-1]
        return stamps
