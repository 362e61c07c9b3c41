"""The event log: what happened to customers and orders, an event for each change.

An event gets its `seq` when it happens; one that is held is seen only once it is released, after
younger ones, as in an API whose transactions end in another order than they began.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tap_saas.sandbox.instants import iso_ms
from tap_saas.sandbox.records import Draft, Kind
from tap_saas.sandbox.table import SLOT_BITS, SLOT_MASK

KEPT = 50_000
SUBJECTS = {"customers": "customer", "orders": "order"}
VERBS = ("created", "updated", "deleted", "restored")
TYPES = tuple(f"{subject}.{verb}" for subject in SUBJECTS.values() for verb in VERBS)


class Entry(NamedTuple):
    """An event: `at` is when it happened (ms), `draft` what the record was then."""

    seq: int
    type: str
    at: int
    kind: Kind
    draft: Draft

    @property
    def id(self) -> str:
        """The id that a webhook has too."""
        return f"ev_{self.seq:07d}"

    def record(self) -> bytes:
        """The record as JSON, of a deleted one its key alone."""
        if self.type.endswith(".deleted"):
            return b'{"id":%s}' % self.kind.id_of(self.draft.slot).encode()
        return self.kind.render(self.draft)

    def text(self) -> bytes:
        """The event as JSON."""
        head = (
            f'{{"id":"{self.id}","seq":{self.seq},"type":"{self.type}",'
            f'"created":{self.at // 1_000},"occurred_at":"{iso_ms(self.at)}","data":{{"object":'
        )
        return head.encode() + self.record() + b"}}"


class Log:
    """The latest 50,000 events that are seen, a list like others: its ids are their `seq`.

    Not thread-safe. `watch` is told of each event when it is seen.
    """

    def __init__(self) -> None:
        self.keys: array[int] = array("Q")
        self.watch: Callable[[Entry], None] = lambda entry: None
        self._entries: dict[int, Entry] = {}
        self._last_seq = 0
        self._to_hold = 0
        self._held: list[Entry] = []

    def __len__(self) -> int:
        return len(self.keys)

    def by_id(self, start: int, stop: int) -> Sequence[int]:
        return sorted(key & SLOT_MASK for key in self.keys[start:stop])

    def slot_of(self, text: str) -> int:
        return int(text)

    def render(self, slot: int) -> bytes:
        return self.entry(slot).text()

    def entry(self, seq: int) -> Entry:
        """One event that is seen; KeyError when there is none."""
        return self._entries[seq]

    def has_room(self, n: int) -> bool:
        """Whether so many events may still happen."""
        return self._last_seq + n <= SLOT_MASK

    def add(self, type_: str, kind: Kind, draft: Draft, at: int) -> None:
        """Something happened."""
        self._last_seq += 1
        entry = Entry(self._last_seq, type_, at, kind, draft)
        if self._to_hold:
            self._to_hold -= 1
            self._held.append(entry)
        else:
            self._show(entry)

    def hold(self, n: int) -> None:
        """Keep the next `n` events back."""
        self._to_hold = n

    def release(self) -> list[int]:
        """Show what is held back, and hold no more; the `seq` of each."""
        released, self._held, self._to_hold = self._held, [], 0
        for entry in released:
            self._show(entry)
        return [entry.seq for entry in released]

    def forget(self, keep: int) -> int:
        """Forget all but the latest `keep` events; how many are left."""
        gone = max(len(self.keys) - keep, 0)
        for key in self.keys[:gone]:
            del self._entries[key & SLOT_MASK]
        del self.keys[:gone]
        return len(self.keys)

    def show(self) -> dict[str, object]:
        """How many events are seen, and which are held back."""
        return {
            "events": len(self),
            "last_seq": self._last_seq,
            "held": [entry.seq for entry in self._held],
            "to_hold": self._to_hold,
        }

    def _show(self, entry: Entry) -> None:
        key = entry.at << SLOT_BITS | entry.seq
        self._entries[entry.seq] = entry
        if not self.keys or key > self.keys[-1]:
            self.keys.append(key)
        else:
            insort(self.keys, key)
        if len(self) > KEPT + KEPT // 10:
            self.forget(KEPT)
        self.watch(entry)
