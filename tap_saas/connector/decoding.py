"""Between what a connector file says and the model: values in, and the file's names out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Meta

from tap_saas.connector.exchange import written
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.template import Template

FILLED_BY_LOAD = Meta(extra={"filled_by_load": True})
"""Marks a field that is no YAML key."""


def decode(kind: type, raw: Any) -> Any:
    """The value of a notation; a number or a boolean may stand for a text with placeholders."""
    if kind is Template and isinstance(raw, int | float):
        raw = written(raw)
    return decode_notation(kind, raw)


def members(value: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """The fields of a part of the model under their names in the file."""
    for field, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        yield name, getattr(value, field)
