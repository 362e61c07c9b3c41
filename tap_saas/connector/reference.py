"""JSON Schemas of the connector language, made from the model's classes and their docstrings."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import msgspec.inspect as mi

from tap_saas.connector.incremental import Distance
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.notation import SCHEMAS
from tap_saas.connector.request_form import ARRAYS, Params

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_KEY_LINE = re.compile(r"^(\w+): (.+(?:\n +.+)*)", re.MULTILINE)
_PLACEHOLDER: Schema = {"type": "string", "pattern": r"^\{[A-Za-z_]\w*\}$"}
_SCALARS: Schema = {"type": ["string", "number", "boolean", "null"]}
_OWN_SCHEMAS: Mapping[type, Schema] = {
    Distance: {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "format": "duration"}]
    },
    Params: {
        "type": "object",
        "properties": {"arrays": {"enum": list(ARRAYS)}},
        "additionalProperties": {"anyOf": [_SCALARS, {"type": "array", "items": _SCALARS}]},
    },
}


def schema() -> Schema:
    """The JSON Schema of a connector file, for editors.

    It asks for no key but `streams`, as the others may stand in `defaults`: `check` tells what is
    missing. A placeholder may stand for any value, and null for what is taken away.
    """
    maker = _Maker(for_editors=True)
    maker.of(mi.type_info(Connector))
    parts = maker.definitions
    root = parts.pop(Connector.__name__)
    keys = {**root["properties"]}
    stream = {"$ref": f"#/$defs/{Stream.__name__}"}
    keys["defaults"] = {**stream, "description": keys["defaults"]["description"]}
    return {
        "$schema": DIALECT,
        "title": "tap-saas connector",
        **root,
        "properties": keys,
        "required": ["streams"],
        "$defs": dict(sorted(parts.items())),
    }


@functools.cache
def strict_schema(model: type) -> tuple[Schema, dict[str, type]]:
    """The JSON Schema that a part of a connector must meet once its settings are filled in.

    Each mistake breaks exactly one rule of it: what may be several things is told apart by its JSON
    type and its `type`. The words of `format` are names of the classes beside it, which `parse`.
    """
    maker = _Maker(for_editors=False)
    root = maker.of(mi.type_info(model))
    return {"$schema": DIALECT, **root, "$defs": maker.definitions}, maker.notations


@functools.cache
def described(kind: type) -> tuple[str, dict[str, str]]:
    """A class's docstring: its first paragraph, and its and its bases' `key: text` lines by key."""
    keys: dict[str, str] = {}
    first = ""
    for base in [base for base in reversed(kind.__mro__) if base not in (object, msgspec.Struct)]:
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        first, _, rest = text.partition("\n\n")
        found = _KEY_LINE.finditer(rest)
        keys |= {match[1]: " ".join(match[2].split()) for match in found}
    return " ".join(first.split()), keys


class _Maker:
    """Types to JSON Schemas; structs become definitions."""

    def __init__(self, *, for_editors: bool) -> None:
        self.definitions: dict[str, Schema] = {}
        self.notations: dict[str, type] = {}
        self._for_editors = for_editors
        self._classes: dict[str, type] = {}

    def of(self, info: mi.Type) -> Schema:
        match info:
            case mi.Metadata():
                return self._short(info)
            case mi.StructType():
                return self._reference(info)
            case mi.CustomType():
                return self._notation(info.cls)
            case mi.UnionType():
                return self._union(info)
            case mi.ListType() | mi.VarTupleType():
                return self._or_placeholder({"type": "array", "items": self.of(info.item_type)})
            case mi.DictType():
                members = self._or_null(self.of(info.value_type))
                return {"type": "object", "additionalProperties": members}
            case mi.LiteralType():
                return self._or_placeholder({"enum": list(info.values)})
            case mi.AnyType():
                return {}
            case _:
                return self._scalar(info)

    def _scalar(self, info: mi.Type) -> Schema:
        match info:
            case mi.StrType():
                return {"type": "string", **({"pattern": info.pattern} if info.pattern else {})}
            case mi.IntType() | mi.FloatType():
                kind = "integer" if isinstance(info, mi.IntType) else "number"
                bounds = {"minimum": info.ge, "maximum": info.le, "exclusiveMinimum": info.gt}
                told = {word: bound for word, bound in bounds.items() if bound is not None}
                return self._or_placeholder({"type": kind, **told})
            case mi.BoolType():
                return self._or_placeholder({"type": "boolean"})
            case mi.NoneType():
                return {"type": "null"}
            case _:
                raise TypeError(f"{info} has no JSON Schema")

    def _or_placeholder(self, schema: Schema) -> Schema:
        """In an editor a setting may stand for any value."""
        return {"anyOf": [schema, _PLACEHOLDER]} if self._for_editors else schema

    def _or_null(self, schema: Schema) -> Schema:
        """In an editor null may take any key of a map away."""
        if not self._for_editors or not schema or {"type": "null"} in schema.get("anyOf", []):
            return schema
        return {"anyOf": [schema, {"type": "null"}]}

    def _notation(self, kind: type) -> Schema:
        if self._for_editors:
            schema = SCHEMAS.get(kind) or _OWN_SCHEMAS.get(kind, {})
            return {**schema, "description": described(kind)[0]}
        self.notations[kind.__name__] = kind
        return {"format": kind.__name__}

    def _reference(self, info: mi.StructType) -> Schema:
        name = info.cls.__name__
        if self._classes.setdefault(name, info.cls) is not info.cls:
            raise TypeError(f"two classes of the language are called {name}")
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self._struct(info)
        return {"$ref": f"#/$defs/{name}"}

    def _struct(self, info: mi.StructType) -> Schema:
        about, keys = described(info.cls)
        fields = [field for field in info.fields if not _is_filled_by_load(field)]
        members = {field.encode_name: self._or_null(self.of(field.type)) for field in fields}
        for name, said in keys.items():
            if name in members and self._for_editors:
                members[name] = {"description": said, **_without_description(members[name])}
        required = [
            field.encode_name for field in fields if field.required and not self._for_editors
        ]
        if info.tag_field is not None:
            members = {info.tag_field: {"const": info.tag}, **members}
            required = [info.tag_field, *required] if not self._for_editors else []
        titles = {"title": info.cls.__name__, "description": about} if self._for_editors else {}
        return {
            **titles,
            "type": "object",
            "properties": members,
            "required": required,
            "additionalProperties": False,
        }

    def _short(self, info: mi.Metadata) -> Schema:
        """What may be written shorter: an item for a list of one, a value for a map of one key."""
        long = self.of(info.type)
        short = (info.extra or {}).get("short")
        if short is None:
            return long
        if isinstance(info.type, mi.ListType):
            item = self.of(info.type.item_type)
            return self._cases({"array": long, "object": item})
        members = info.type.types if isinstance(info.type, mi.UnionType) else [info.type]
        kind = next(member for member in members if isinstance(member, mi.StructType))
        field = next(field for field in kind.fields if field.encode_name == short)
        cases = {"object": self._reference(kind), "string": self._required(field.type)}
        return self._cases(cases | ({"null": {"type": "null"}} if kind is not info.type else {}))

    def _required(self, info: mi.Type) -> Schema:
        """The schema of a type without its null."""
        if not isinstance(info, mi.UnionType):
            return self.of(info)
        (kind,) = [member for member in info.types if not isinstance(member, mi.NoneType)]
        return self.of(kind)

    def _union(self, info: mi.UnionType) -> Schema:
        structs = [member for member in info.types if isinstance(member, mi.StructType)]
        cases: dict[str, Schema] = {}
        if len(structs) == 1 and structs[0].tag_field is None:
            cases["object"] = self._reference(structs[0])
        elif structs:
            cases["object"] = self._tagged(structs)
        for member in info.types:
            if isinstance(member, mi.CustomType):
                return self._optional(self.of(member))
            if not isinstance(member, mi.StructType):
                cases[_json_type(member)] = self.of(member)
        return self._cases(cases)

    def _optional(self, schema: Schema) -> Schema:
        if self._for_editors:
            return {"anyOf": [schema, {"type": "null"}]}
        return {"if": {"not": {"type": "null"}}, "then": schema}

    def _tagged(self, structs: Sequence[mi.StructType]) -> Schema:
        members = {str(member.tag): self._reference(member) for member in structs}
        field = next(iter(structs)).tag_field
        cases: list[Schema] = [
            {"if": {"properties": {field: {"const": tag}}, "required": [field]}, "then": schema}
            for tag, schema in members.items()
        ]
        required = [field]
        if self._for_editors:
            keys = {one.encode_name for member in structs for one in member.fields}
            known = {"propertyNames": {"enum": sorted(keys)}}
            cases.append({"if": {"required": [field]}, "else": known})
            required = []
        return {
            "type": "object",
            "required": required,
            "properties": {field: {"enum": list(members)}},
            "allOf": cases,
        }

    def _cases(self, cases: Mapping[str, Schema]) -> Schema:
        """One schema for each JSON type."""
        if len(cases) == 1:
            return next(iter(cases.values()))
        if self._for_editors:
            return {"anyOf": list(cases.values())}
        return {
            "type": list(cases),
            "allOf": [{"if": {"type": kind}, "then": case} for kind, case in cases.items()],
        }


def _is_filled_by_load(field: mi.Field) -> bool:
    extra = field.type.extra if isinstance(field.type, mi.Metadata) else None
    return bool(extra and extra.get("filled_by_load"))


def _without_description(schema: Schema) -> Schema:
    return {word: value for word, value in schema.items() if word != "description"}


def _json_type(info: mi.Type) -> str:
    match info:
        case mi.LiteralType() | mi.StrType():
            return "string"
        case mi.IntType():
            return "integer"
        case mi.FloatType():
            return "number"
        case mi.BoolType():
            return "boolean"
        case mi.NoneType():
            return "null"
        case mi.ListType() | mi.VarTupleType():
            return "array"
        case mi.DictType():
            return "object"
        case _:
            raise TypeError(f"{info} cannot be one of several things")
