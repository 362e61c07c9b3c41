"""Short forms in a connector file, `records: $.data`, written in full as the model has them."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import msgspec.inspect as mi


def spelled_out(model: type[msgspec.Struct], raw: Any) -> Any:
    """A copy of what a file says for this class, each short form in it in full.

    A field marked `short` may be one item instead of a list of one, or the value of that member
    instead of a map of it.
    """
    return _spelled(_info(model), raw)


@functools.cache
def _info(model: type) -> mi.Type:
    return mi.type_info(model)


@functools.cache
def _members(model: type) -> dict[str, mi.Type]:
    """The types of a class's members by their names in the file."""
    info = _info(model)
    assert isinstance(info, mi.StructType)
    return {field.encode_name: field.type for field in info.fields}


def _spelled(info: mi.Type, raw: Any) -> Any:
    match info:
        case mi.Metadata():
            return _spelled(info.type, _long(info, raw))
        case mi.UnionType():
            return _in_union(info, raw)
        case mi.StructType() if isinstance(raw, dict):
            members = _members(info.cls)
            return {
                name: _spelled(members[name], value) if name in members else value
                for name, value in raw.items()
            }
        case mi.ListType() if isinstance(raw, list):
            return [_spelled(info.item_type, item) for item in raw]
        case mi.DictType() if isinstance(raw, dict):
            return {name: _spelled(info.value_type, value) for name, value in raw.items()}
        case _:
            return raw


def _long(info: mi.Metadata, raw: Any) -> Any:
    short = (info.extra or {}).get("short")
    if short is None:
        return raw
    if isinstance(info.type, mi.ListType):
        return [raw] if isinstance(raw, dict) else raw
    return {short: raw} if isinstance(raw, str) else raw


def _in_union(info: mi.UnionType, raw: Any) -> Any:
    """The value as the member of a union that its JSON type, or its `type`, says."""
    for member in info.types:
        if isinstance(member, mi.StructType) and isinstance(raw, dict):
            if member.tag_field is None or raw.get(member.tag_field) == member.tag:
                return _spelled(member, raw)
        elif isinstance(member, mi.ListType | mi.Metadata) and isinstance(raw, list):
            return _spelled(member, raw)
    return raw
