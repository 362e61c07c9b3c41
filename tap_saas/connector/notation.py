"""The notations of connector files: how each is decoded, and what editors know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tap_saas.connector.formats import InstantFormat
from tap_saas.connector.incoming import ArrivedCondition
from tap_saas.connector.jsonpath import Path, Paths
from tap_saas.connector.place import Condition, Place, SentTo, TakenFrom
from tap_saas.connector.routes import EventId, EventPlace, EventPlaces, RecordPlace, TypePattern
from tap_saas.connector.signed_text import SignedText
from tap_saas.connector.template import Template, Tree
from tap_saas.connector.units import ByteSize, Duration, Percent
from tap_saas.connector.written import Written

_TEXT: Final = {"type": "string"}


class _Notation(NamedTuple):
    kind: Any
    format: str | None
    schema: Mapping[str, Any]


def _one_or_more(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def _text(kind: type, name: str) -> _Notation:
    return _Notation(kind, name, {**_TEXT, "format": name})


_PATH: Final = {**_TEXT, "format": "path"}
_NOTATIONS: Final = (
    _Notation(Path, "path", _PATH),
    _text(Place, "place"),
    _text(TakenFrom, "taken-from"),
    _text(SentTo, "sent-to"),
    _Notation(Paths, "paths", _one_or_more(_PATH)),
    _Notation(Condition, "condition", _one_or_more({**_TEXT, "format": "condition"})),
    _text(Template, "template"),
    _Notation(Tree, None, {}),
    _text(Duration, "duration"),
    _text(ByteSize, "size"),
    _Notation(Percent, "percent", {"anyOf": [{**_TEXT, "format": "percent"}, {"const": 0}]}),
    _text(InstantFormat, "instant-format"),
    _text(EventPlace, "event-place"),
    _Notation(
        ArrivedCondition,
        "arrived-condition",
        _one_or_more({**_TEXT, "format": "arrived-condition"}),
    ),
    _text(SignedText, "signed-text"),
    _Notation(EventPlaces, "event-places", _one_or_more({**_TEXT, "format": "event-place"})),
    _Notation(EventId, "event-id", _one_or_more({**_TEXT, "format": "event-place"})),
    _text(TypePattern, "type-pattern"),
    _Notation(
        RecordPlace,
        "record-place",
        {"anyOf": [_PATH, {"type": "object", "additionalProperties": _PATH, "minProperties": 1}]},
    ),
)

SCHEMAS: Final[Mapping[type, Mapping[str, Any]]] = {
    notation.kind: notation.schema for notation in _NOTATIONS
}
"""The JSON Schema of each notation's type."""

FORMATS: Final[Mapping[str, Callable[[Any], Any]]] = {
    notation.format: notation.kind.parse for notation in _NOTATIONS if notation.format is not None
}
"""The parser behind each `format` word of these schemas; it raises ValueError with one line."""


def decode_notation(kind: type, raw: Any) -> Any:
    """The `dec_hook` for msgspec: what a connector file says, as the notation's value.

    Raises:
        ValueError: one clear line about what is wrong.
        NotImplementedError: the type is no notation.
    """
    if issubclass(kind, (Written, Duration, ByteSize, Percent)):
        return kind.parse(raw)
    raise NotImplementedError(f"{kind.__name__} is not a notation")
