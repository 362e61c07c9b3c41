"""The fast lane's types: a JSON Schema as a strict struct, where a struct says all of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from tap_saas.sync.columns import Column
from tap_saas.sync.convert import BIGINT

# A page that is not exactly what its struct says takes the dict lane, so anything may be left out
# here, and nothing may be understood more loosely than the dict lane does.
_PLAIN = {"type", "format", "title", "description", "default", "examples", "$comment"}
_UNDERSTOOD: dict[str, set[str]] = {
    "integer": {"minimum", "maximum", "enum"},
    "number": {"minimum", "maximum"},
    "string": {"minLength", "maxLength", "pattern", "enum"},
    "boolean": set(),
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
}
_META = {
    "minimum": "ge", "maximum": "le", "minLength": "min_length", "maxLength": "max_length",
    "pattern": "pattern",
}  # fmt: skip
_UNDERSTOOD_WHOLE = {"type", "properties", "required", "additionalProperties", "$schema", "$id"}
_OPEN: dict[str, Any] = {"object": dict[str, Any] | None, "array": list[Any] | None}
BigInt = Annotated[int, msgspec.Meta(ge=-BIGINT, le=BIGINT - 1)]


class NoStructError(ValueError):
    """A schema that a struct cannot say whole: its stream takes the dict lane."""


def required_fields(declared: Mapping[str, Any] | None) -> frozenset[str]:
    """The fields that a declared schema asks for.

    Raises:
        NoStructError: it says of whole records what a struct cannot.
    """
    if declared is None:
        return frozenset()
    more = declared.keys() - _PLAIN - _UNDERSTOOD_WHOLE
    if more or declared.get("additionalProperties", True) not in (True, False, {}):
        raise NoStructError(", ".join(sorted(more)) or "additionalProperties")
    return frozenset(declared.get("required", ()))


def record_type(
    columns: Mapping[str, Column],
    required: frozenset[str],
    blanks: Sequence[str] = (),
    *,
    forbid_unknown: bool = True,
) -> tuple[type[msgspec.Struct], dict[str, Mapping[str, Any]]]:
    """The struct of a record: its field `f0` is the first column, and so on; `b0` the first of
    `blanks`, fields that may be null and nothing else.

    Beside it, the schemas of those objects and arrays whose inside no struct can say: their values
    are to be validated one by one.

    Raises:
        NoStructError: the schema says more than a struct can.
    """
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    rename: dict[str, str] = {}
    unsaid: dict[str, Mapping[str, Any]] = {}
    for number, column in enumerate(columns.values()):
        if column.out != column.name:
            raise NoStructError(column.name)
        try:
            kind = _column_type(column)
        except NoStructError:
            if column.kind not in _OPEN or column.declared is None:
                raise
            unsaid[column.name] = column.declared
            kind = _OPEN[column.kind]
        fields.append(_field(f"f{number}", kind, column.name in required))
        rename[f"f{number}"] = column.name
    for number, name in enumerate(blanks):
        fields.append(_field(f"b{number}", None, required=False))
        rename[f"b{number}"] = name
    fields.sort(key=len)  # those without a default come first
    record = msgspec.defstruct(
        "Record", fields, rename=rename, forbid_unknown_fields=forbid_unknown, gc=False,
        kw_only=True,
    )  # fmt: skip
    return record, unsaid


def _field(name: str, kind: Any, required: bool) -> tuple[str, Any] | tuple[str, Any, Any]:
    return (name, kind) if required else (name, kind | msgspec.UnsetType, msgspec.UNSET)


def _column_type(column: Column) -> Any:
    """The type of a top-level field; date-times stay texts, the lane looks at them itself."""
    declared = column.declared or {}
    null = None if column.declared is None or is_nullable(declared) else msgspec.UnsetType
    match column.kind:
        case "integer":
            base: Any = _constrained(BigInt, "integer", declared)
        case "number":
            _constrained(msgspec.Raw, "number", declared)
            return msgspec.Raw  # a Decimal would take texts too; the lane looks at the JSON text
        case "string" | "date-time":
            base = _constrained(str, "string", declared)
        case "boolean":
            base = _constrained(bool, "boolean", declared)
        case "uuid":
            base = uuid.UUID
        case "object":
            base = _object(declared)
        case "array":
            base = _array(declared)
        case _:
            raise NoStructError(column.kind)
    return base if null is msgspec.UnsetType else base | None


def is_nullable(declared: Mapping[str, Any]) -> bool:
    """True where a declared schema takes null."""
    named = declared.get("type", [])
    return "null" in ([named] if isinstance(named, str) else named)


def _constrained(base: Any, kind: str, declared: Mapping[str, Any]) -> Any:
    """The type with the declared bounds; a keyword that is not understood raises."""
    unknown = declared.keys() - _PLAIN - _UNDERSTOOD[kind]
    if unknown:
        raise NoStructError(", ".join(unknown))
    if "enum" in declared:
        values = tuple(value for value in declared["enum"] if value is not None)
        if not values or not all(isinstance(value, (str, int)) for value in values):
            raise NoStructError("enum")
        return Literal[values]
    bounds = {_META[word]: declared[word] for word in _META if word in declared}
    if not bounds:
        return base
    if kind == "number":
        raise NoStructError("bounds of a number")
    if "pattern" in bounds:
        _check_pattern(bounds["pattern"])
    return Annotated[base, msgspec.Meta(**bounds)]


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise NoStructError(pattern) from error


def _object(declared: Mapping[str, Any]) -> Any:
    """A nested object: its declared properties strictly, or any object."""
    if not declared.get("properties"):
        if declared.keys() - _PLAIN - {"properties", "additionalProperties"} or declared.get(
            "additionalProperties", True
        ) not in (True, {}):
            raise NoStructError("object")
        return dict[str, Any]
    if declared.keys() - _PLAIN - _UNDERSTOOD["object"]:
        raise NoStructError("object")
    required = set(declared.get("required", ()))
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    rename = {}
    for number, (name, sub) in enumerate(declared["properties"].items()):
        fields.append(_field(f"f{number}", _nested(sub), name in required))
        rename[f"f{number}"] = name
    fields.sort(key=len)
    return msgspec.defstruct(
        "Nested", fields, rename=rename, forbid_unknown_fields=True, gc=False, kw_only=True
    )


def _array(declared: Mapping[str, Any]) -> Any:
    if declared.keys() - _PLAIN - _UNDERSTOOD["array"]:
        raise NoStructError("array")
    return list[_nested(declared["items"])] if declared.get("items") else list[Any]  # type: ignore[misc]


def _nested(declared: Mapping[str, Any]) -> Any:
    """The type of a value inside jsonb: only its JSON type and bounds count."""
    named = declared.get("type")
    if named is None:
        if declared.keys() - _PLAIN:
            raise NoStructError("no type")
        return Any
    types = [named] if isinstance(named, str) else list(named)
    nullable = "null" in types
    types = [name for name in types if name != "null"]
    if len(types) != 1:
        raise NoStructError("several types")
    match types[0]:
        case "object":
            base = _object(declared)
        case "array":
            base = _array(declared)
        case "number":  # as a float it would lose digits, as a Decimal it would take texts
            raise NoStructError("a nested number")
        case kind:
            base = _constrained(
                {"integer": int, "string": str, "boolean": bool}[kind],
                kind,
                declared,
            )
    return base | None if nullable else base
