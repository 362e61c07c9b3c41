"""What the fields of a list hold, as far as its records show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tap_saas.authoring.dates import DateField


def find(records: Sequence[Mapping[str, Any]], dates: Sequence[DateField]) -> dict[str, str]:
    """Each field's kind in words: `id` -> `integer`, `paid_at` -> `date-time or null`."""
    instants = {field.path.steps[0]: field for field in dates if len(field.path.steps) == 1}
    names = dict.fromkeys(name for record in records for name in record)
    return {
        name: _described([record.get(name) for record in records], instants.get(name))
        for name in names
    }


def _described(values: list[Any], date: DateField | None) -> str:
    kinds = {_kind(value) for value in values}
    if date is not None:
        kinds = {*(kinds & {"null"}), _instant(date.format)}
    if "number" in kinds:
        kinds.discard("integer")
    return " or ".join(sorted(kinds, key=lambda kind: (kind == "null", kind)))


def _instant(format: str) -> str:
    return {"iso8601": "date-time", "date": "date"}.get(format, f"instant ({format})")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "text"
        case dict():
            return "object"
        case _:
            return "array"
