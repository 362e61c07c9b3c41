"""The list of known hard cases, each with the verdict: a row, a reject, or stale.

A record is written as raw JSON text around one odd member. The verdicts assume these types: `id`
integer (the key), `case` and `text` text, `at` and `updated_at` date-time, `amount` decimal,
`count` integer of 64 bits, `tags` array, `nested` object; null is allowed but for the key.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from tap_saas.sandbox.instants import iso_ms
from tap_saas.sandbox.table import Fixed

TYPES = {
    "id": "integer (key)",
    "case": "text",
    "text": "text",
    "at": "date-time",
    "amount": "decimal",
    "count": "integer, 64 bits",
    "tags": "array",
    "nested": "object",
    "updated_at": "date-time (version)",
}
FIRST_MS = 1_746_093_600_000  # 2025-05-01T10:00:00Z
PLAIN = {
    "text": '"plain"',
    "at": '"2025-03-30T10:00:00Z"',
    "amount": "12.50",
    "count": "3",
    "tags": '["a","b"]',
    "nested": '{"a":1}',
}


class Oddity(NamedTuple):
    """One case: members as raw JSON (None: left out), the verdict, why, and what must arrive."""

    case: str
    members: dict[str, str | None]
    expect: Literal["row", "reject", "stale"]
    why: str
    arrives: dict[str, str | int | None]


def _row(
    case: str, why: str, arrives: dict[str, str | int | None] | None = None, **members: str | None
) -> Oddity:
    return Oddity(case, dict(members), "row", why, arrives or {})


def _reject(case: str, why: str, **members: str | None) -> Oddity:
    return Oddity(case, dict(members), "reject", why, {})


def _instant(case: str, text: str, arrives: str) -> Oddity:
    return _row(case, f"the same instant as {arrives}", {"at": arrives}, at=json.dumps(text))


ODDITIES: tuple[Oddity, ...] = (
    _row("plain", "nothing odd"),
    _row("nul_in_text", "the character is replaced", text='"before\\u0000after"'),
    _row("nul_in_nested", "the character is replaced", nested='{"a":[{"b":"x\\u0000y"}]}'),
    _row("lone_high_surrogate", "the character is replaced", text='"x\\ud800y"'),
    _row("lone_low_surrogate", "the character is replaced", text='"\\udc00"'),
    _row("surrogate_in_nested", "the character is replaced", nested='{"a":"\\ud83dx"}'),
    _row("surrogate_pair", "a good pair is one character", {"text": "🙂"}, text='"\\ud83d\\ude42"'),
    _instant("offset_plus", "2025-03-30T12:00:00+02:00", "2025-03-30T10:00:00Z"),
    _instant("offset_minus", "2025-12-31T23:30:00-01:00", "2026-01-01T00:30:00Z"),
    _instant("nanoseconds", "2025-03-30T12:00:00.123456789Z", "2025-03-30T12:00:00.123456Z"),
    _instant("naive", "2025-03-30T12:00:00", "2025-03-30T12:00:00Z"),
    _instant("space_for_t", "2025-03-30 12:00:00Z", "2025-03-30T12:00:00Z"),
    _instant("date_only", "2025-03-30", "2025-03-30T00:00:00Z"),
    _row("null_instant", "null is a value", {"at": None}, at="null"),
    _reject("empty_instant", "an empty text is no date-time", at='""'),
    _reject("feb_30", "there is no such day", at='"2025-02-30T12:00:00Z"'),
    _reject("second_60", "a leap second cannot be stored", at='"2025-06-30T23:59:60Z"'),
    _reject("year_0", "there is no year 0", at='"0000-01-01T00:00:00Z"'),
    _reject("word_for_instant", "not a date-time", at='"yesterday"'),
    _row(
        "money_20_digits",
        "exact to the last digit",
        {"amount": "12345678901234567.891"},
        amount="12345678901234567.891",
    ),
    _row("money_many_decimals", "exact", {"amount": "0.10000000000000000001"},
         amount="0.10000000000000000001"),
    _row("nan", "not a number is null", {"amount": None}, amount="NaN"),
    _row("infinity", "not a finite number is null", {"amount": None}, amount="-Infinity"),
    _reject("word_for_amount", "not a number", amount='"twelve"'),
    _row("bigint_largest", "just fits", {"count": 2**63 - 1}, count=str(2**63 - 1)),
    _reject("bigint_plus_1", "beyond 64 bits", count=str(2**63)),
    _reject("bigint_below", "beyond 64 bits", count=str(-(2**63) - 1)),
    _row("integer_as_1.0", "a whole number", {"count": 1}, count="1.0"),
    _reject("integer_as_1.5", "not a whole number", count="1.5"),
    _reject("true_for_integer", "not a number", count="true"),
    _reject("object_for_text", "not a text", text='{"a":1}'),
    _row("mixed_array", "an array holds anything", tags='["a",1,2.5,null,true,{"b":[]}]'),
    _row("ragged_array", "an array holds anything", tags="[[1,2],[3],[]]"),
    _row("nested_empties", "empty is a value", nested='{"a":{},"b":[],"c":[{}]}', tags="[]"),
    _row("very_long_text", "100,000 characters", text='"' + "long text " * 10_000 + '"'),
    _row("unicode", "names and texts of any script", {"text": "東京 Ærø é 🔑"},
         text='"東京 Ærø é 🔑"', nested='{"größe":1,"ключ":{"鍵":2}}'),
    _row("missing_member", "a member that is not there is null", {"text": None}, text=None),
    _row("unknown_member", "a member that the types do not name", größe="7"),
    _reject("null_key", "a key may not be null", id="null"),
    _reject("missing_key", "a key must be there", id=None),
    _reject("text_for_key", "not an integer", id='"seven"'),
    _row("newest_of_two", "an older version follows later", {"count": 2}, count="2"),
    _row("plain_again", "nothing odd"),
    Oddity("older_of_two", {"count": "1"}, "stale", "an older version of newest_of_two", {}),
)  # fmt: skip
OLDER = len(ODDITIES) - 1
NEWEST = next(i for i, oddity in enumerate(ODDITIES) if oddity.case == "newest_of_two")


def key(slot: int) -> int | None:
    """The key of a record as an integer, None where it has no such key."""
    if slot == OLDER:
        return NEWEST + 1
    return None if "id" in ODDITIES[slot].members else slot + 1


def version_ms(slot: int) -> int:
    """The record's `updated_at`: a second apart, but the older version is older than all."""
    return FIRST_MS - 3_600_000 if slot == OLDER else FIRST_MS + slot * 1_000


def _text(slot: int) -> bytes:
    oddity = ODDITIES[slot]
    members: dict[str, str | None] = {
        "id": str(key(slot)),
        "case": json.dumps(oddity.case),
        **PLAIN,
        "updated_at": json.dumps(iso_ms(version_ms(slot))),
        **oddity.members,
    }
    pairs = (
        f"{json.dumps(name, ensure_ascii=False)}:{text}"
        for name, text in members.items()
        if text is not None
    )
    return ("{" + ",".join(pairs) + "}").encode()


def listing() -> Fixed:
    """The list, in the order of the table above; by id those that have one of their own."""
    slots = range(len(ODDITIES))
    nameless = [slot for slot in slots if key(slot) != slot + 1]
    positions = [FIRST_MS + slot * 1_000 for slot in slots]
    return Fixed(positions, [_text(slot) for slot in slots], nameless)


def verdicts() -> list[dict[str, object]]:
    """What must become of each record, in the order of the list."""
    return [
        {
            "id": key(slot),
            "case": oddity.case,
            "expect": oddity.expect,
            "why": oddity.why,
            "arrives": oddity.arrives,
        }
        for slot, oddity in enumerate(ODDITIES)
    ]
