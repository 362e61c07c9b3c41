"""How msgspec decodes what a connector file says."""

from __future__ import annotations

from typing import Any

from tap_saas.connector.exchange import written
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.template import Template


def decode(kind: type, raw: Any) -> Any:
    """The value of a notation; a number or a boolean may stand for a text with placeholders."""
    if kind is Template and isinstance(raw, int | float):
        raw = written(raw)
    return decode_notation(kind, raw)
