"""What records look like: every text of a record follows from the seed, its number and revision.

A record has a slot (0 for the first), an id (1 or `evt_000001`) and a revision: 0 as it was
created, then one more for each change. Known drift: `discount` of orders is an integer in the
older 60 % and a decimal after that; `data.value` of events is a number, every seventh a text.
"""

from __future__ import annotations

import json
from typing import NamedTuple, Protocol

from tap_saas.sandbox.instants import iso_ms

START_MS = 1_704_067_200_000  # 2024-01-01
END_MS = 1_751_241_600_000  # 2025-06-30
JOB_MS = 10 * 86_400_000
_MASK = (1 << 64) - 1

FIRST = ["Zoë", "Łukasz", "Renée", "美咲", "Søren", "Ana", "Björk", "Иван", "Ngozi", "Siân", "José"]
LAST = ["Müller", "O'Brien", "García", "Nowak", "田中", 'de "Wit"', "Smith", "Ångström", "Okafor"]
COUNTRIES = ["DE", "FR", "PL", "JP", "US", "NG", "SE", "GB"]
CITIES = ["Berlin", "Orléans", "Łódź", "東京", "Reno", "Lagos", "Malmö", "Hull"]
PLANS = ["free", "team", "business"]
TAGS = ["vip", "beta", "late payer", "référence", "b2b"]
STATUSES = ["new", "paid", "packed", "shipped", "returned"]
CURRENCIES = ["EUR", "USD", "JPY"]
NOTES = ["null", '"leave at the door"', '"Grüße \\n zwei Zeilen"', '"\\"quoted\\" 🙂"']
EVENT_TYPES = ["order.created", "order.updated", "customer.updated", "invoice.paid"]


def mix(number: int) -> int:
    """64 mixed bits: multiply by odd constants, fold the high half onto the low one."""
    number = number * 0x9E3779B97F4A7C15 & _MASK
    number = (number ^ number >> 32) * 0xBF58476D1CE4E5B9 & _MASK
    return number ^ number >> 29


class Draft(NamedTuple):
    """What a record is made of; instants in milliseconds, `extended` adds the new field."""

    slot: int
    revision: int
    created: int
    updated: int
    extended: bool


class Kind(Protocol):
    """How one stream's ids, instants and records are made."""

    def id_of(self, slot: int) -> str:
        """The id as text, as the truth writes it."""

    def slot_of(self, text: str) -> int:
        """The slot of an id; ValueError when it is no id of this stream."""

    def created(self, slot: int) -> int:
        """When a generated record was created; grows with the slot."""

    def updated(self, slot: int) -> int:
        """When a generated record was last changed; later than `created`."""

    def render(self, draft: Draft) -> bytes:
        """The record as JSON."""


class _Spread:
    """Instants of `n` generated records over a year and a half."""

    def __init__(self, seed: int, salt: int, n: int) -> None:
        self._salt = mix(seed * 1_000_003 + salt)
        self._step = (END_MS - START_MS) // max(n, 1)

    def bits(self, slot: int, revision: int = 0) -> int:
        """64 bits that belong to this revision of this record."""
        return mix(self._salt + slot * 0x10001 + (revision << 40))

    def created(self, slot: int) -> int:
        return START_MS + slot * self._step + self.bits(slot) % self._step

    def updated(self, slot: int) -> int:
        """Any time after `created`; one in sixteen by a job every ten days, at one instant."""
        created = self.created(slot)
        bits = self.bits(slot, 1)
        moment = created + 1 + bits % (END_MS - created)
        return moment if bits >> 60 else moment - moment % JOB_MS + JOB_MS

    def id_of(self, slot: int) -> str:
        return str(slot + 1)

    def slot_of(self, text: str) -> int:
        return int(text) - 1


def _money(cents: int) -> str:
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


class Customers(_Spread):
    """People; the new field is `loyalty`."""

    def __init__(self, seed: int, n: int) -> None:
        super().__init__(seed, 1, n)
        self._first = [json.dumps(name, ensure_ascii=False)[1:-1] for name in FIRST]
        self._last = [json.dumps(name, ensure_ascii=False)[1:-1] for name in LAST]
        self._tags = [json.dumps(tag, ensure_ascii=False) for tag in TAGS]

    def render(self, draft: Draft) -> bytes:
        number = draft.slot + 1
        fixed, bits = self.bits(draft.slot), self.bits(draft.slot, draft.revision)
        place = fixed % 8
        tags = ",".join(tag for i, tag in enumerate(self._tags) if bits >> i & 5 == 5)
        phone = "null" if fixed >> 4 & 3 == 0 else f'"+49 30 {fixed % 10_000_000:07d}"'
        loyalty = f',"loyalty":{bits % 900}' if draft.extended else ""
        return (
            f'{{"id":{number},"name":"{self._first[fixed % 11]} {self._last[fixed % 9]}",'
            f'"email":"customer{number}@example.com","phone":{phone},'
            f'"country":"{COUNTRIES[place]}","plan":"{PLANS[bits % 3]}",'
            f'"credit":{_money(bits % 900_000 - 100_000)},'
            f'"is_active":{"false" if bits >> 8 & 7 == 0 else "true"},"tags":[{tags}],'
            f'"address":{{"street":"{fixed % 200} Main Street","city":"{CITIES[place]}",'
            f'"zip":"{fixed % 100_000:05d}"}},'
            f'"created_at":"{iso_ms(draft.created)}","updated_at":"{iso_ms(draft.updated)}"'
            f"{loyalty}}}"
        ).encode()


class Orders(_Spread):
    """Orders of customers; the new field is `channel`."""

    def __init__(self, seed: int, n: int, customers: int) -> None:
        super().__init__(seed, 2, n)
        self._customers = max(customers, 1)
        self._drift = n * 6 // 10

    def render(self, draft: Draft) -> bytes:
        number = draft.slot + 1
        fixed, bits = self.bits(draft.slot), self.bits(draft.slot, draft.revision)
        created = iso_ms(draft.created)
        discount = str(bits % 20) if draft.slot < self._drift else f"{bits % 20}.5"
        channel = f',"channel":"{"web" if bits & 1 else "shop"}"' if draft.extended else ""
        return (
            f'{{"id":{number},"customer_id":{fixed % self._customers + 1},'
            f'"number":"SO-{created[:4]}-{number:07d}","status":"{STATUSES[bits % 5]}",'
            f'"currency":"{CURRENCIES[fixed % 3]}","amount":{_money(bits % 5_000_000)},'
            f'"discount":{discount},"note":{NOTES[(bits >> 8) % 4]},'
            f'"ordered_on":"{created[:10]}",'
            f'"created_at":"{created}","updated_at":"{iso_ms(draft.updated)}"{channel}}}'
        ).encode()

    def lines(self, slot: int) -> int:
        """How many lines an order has: 0 to 5, one order in 50 has 25. Never changes."""
        bits = self.bits(slot, 2) >> 8
        return 25 if bits % 50 == 0 else bits % 6

    def line(self, slot: int, line: int, revision: int, updated: int) -> bytes:
        """A line as JSON; it does not say whose it is, its key is the order's id and `line_no`."""
        bits = self.bits(slot * 31 + line, revision)
        return (
            f'{{"line_no":{line},"sku":"SKU-{bits % 5_000:05d}","quantity":{bits % 9 + 1},'
            f'"price":{_money(bits % 100_000)},"updated_at":"{iso_ms(updated)}"}}'
        ).encode()


class Events(_Spread):
    """What happened, `evt_000001` and on; the new field is `source`."""

    def __init__(self, seed: int, n: int) -> None:
        super().__init__(seed, 3, n)

    def updated(self, slot: int) -> int:
        """Within two seconds of `created`; one in eight at a whole second."""
        created, bits = self.created(slot), self.bits(slot, 1)
        return created + 1 + bits % 2_000 if bits >> 61 else created - created % 1_000 + 1_000

    def id_of(self, slot: int) -> str:
        return f"evt_{slot + 1:06d}"

    def slot_of(self, text: str) -> int:
        if not text.startswith("evt_"):
            raise ValueError(f"{text!r} is not an event id")
        return int(text[4:]) - 1

    def render(self, draft: Draft) -> bytes:
        bits = self.bits(draft.slot, draft.revision)
        value = f'"{bits % 1000} EUR"' if draft.slot % 7 == 6 else str(bits % 1000)
        source = ',"source":"api"' if draft.extended else ""
        return (
            f'{{"id":"{self.id_of(draft.slot)}","type":"{EVENT_TYPES[bits % 4]}",'
            f'"created":{draft.created // 1000},"updated_at":"{iso_ms(draft.updated)}",'
            f'"data":{{"object_id":{bits % 1000 + 1},"value":{value}}}{source}}}'
        ).encode()
