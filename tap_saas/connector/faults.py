"""What breaks the strict schema of a class, in plain words."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from tap_saas.connector.decoding import decode
from tap_saas.connector.mistake import Where, alternatives, nearest
from tap_saas.connector.reference import strict_schema

_SHOWN = 60
_TYPES = {
    "object": "a map",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake.

    `missing` is the key that `place` lacks; `meant` is what an unknown key was most likely meant to
    be, empty where nobody knows.
    """

    place: Where
    what: str
    do: str | None = None
    missing: str | None = None
    meant: str | None = None


@functools.cache
def _validator(model: type) -> Draft202012Validator:
    checker = FormatChecker(formats=())
    schema, notations = strict_schema(model)
    for name, kind in notations.items():
        checker.checks(name, raises=ValueError)(functools.partial(_parses, kind))
    return Draft202012Validator(schema, format_checker=checker)


def _parses(kind: type, raw: Any) -> bool:
    decode(kind, raw)
    return True


def faults(model: type, raw: Any) -> Iterator[Fault]:
    """Everything in `raw` that breaks the schema of `model`, each once."""
    seen: set[tuple[Where, str]] = set()
    for error in _validator(model).iter_errors(raw):
        for fault in _told(error):
            if (fault.place, fault.what) not in seen:
                seen.add((fault.place, fault.what))
                yield fault


def _told(error: ValidationError) -> Iterator[Fault]:
    place = tuple(error.absolute_path)
    schema: Any = error.schema
    instance: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = schema["properties"]
        left = known.keys() - instance.keys()
        for key in [key for key in instance if key not in known]:
            yield Fault(
                place=(*place, key),
                what=f'unknown key "{key}"',
                do=alternatives(key, left) or "take it away",
                meant=nearest(key, left) or "",
            )
    elif error.validator == "required":
        for key in wanted:
            if key not in instance:
                yield _missing(place, key, schema)
    else:
        what, do = _wrong_value(error)
        yield Fault(place=place, what=what, do=do)


def _missing(place: Where, key: str, schema: Any) -> Fault:
    do = f"add `{key}:`"
    if key == "pagination":
        do = "add `pagination:`, with {type: single} if one answer holds all"
    elif key == "type" and "enum" in schema["properties"].get("type", {}):
        do = f"add `type:` with one of {', '.join(schema['properties']['type']['enum'])}"
    return Fault(place=place, what=f'the key "{key}" is missing', do=do, missing=key)


def _wrong_value(error: ValidationError) -> tuple[str, str | None]:
    value, wanted = error.instance, cast(Any, error.validator_value)
    placeholder = _unquoted_placeholder(value)
    if placeholder is not None:
        return "a placeholder without quotes is a map", f'write "{{{placeholder}}}"'
    match error.validator:
        case "format":
            what, _, do = str(error.cause).partition("; ")
            return what, do or None
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            told = " or ".join(_TYPES[name] for name in names if name != "null")
            is_one = isinstance(value, str) and "array" in names
            return f"{_shown(value)} is not {told}", f"write [{value}]" if is_one else None
        case "enum" | "const":
            listed = wanted if error.validator == "enum" else [wanted]
            known = [str(one) for one in listed]
            near = nearest(str(value), known)
            do = f'did you mean "{near}"?' if near else "use one of them"
            return f"{_shown(value)} is none of {', '.join(known)}", do
        case "minimum" | "exclusiveMinimum" | "maximum":
            bound = {"minimum": "at least", "maximum": "at most"}.get(error.validator, "more than")
            return f"{_shown(value)} must be {bound} {wanted}", None
        case _:
            return error.message[: 4 * _SHOWN], None


def _unquoted_placeholder(value: Any) -> str | None:
    """`{api_key}` without quotes is YAML for a map of one key without a value."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        return str(key) if inner is None else None
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}..."'
