"""Defaults under a stream's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(base: Any, own: Any) -> Any:
    """`own` over `base`: maps key by key, lists and scalars replaced, null takes away.

    Maps that say another `type` replace each other whole, as their keys have nothing in common.
    """
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    if "type" in base and "type" in own and base["type"] != own["type"]:
        return dict(own)
    result = dict(base)
    for key, value in own.items():
        if value is None and key in base:
            del result[key]
        else:
            result[key] = merged(base.get(key), value)
    return result
