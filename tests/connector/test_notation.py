"""How notations are decoded, and that their schemas and parsers agree."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tap_saas.connector.formats import InstantFormat
from tap_saas.connector.incoming import ArrivedCondition
from tap_saas.connector.jsonpath import Path, Paths
from tap_saas.connector.notation import FORMATS, SCHEMAS, decode_notation
from tap_saas.connector.place import Condition, Place, SentTo, TakenFrom
from tap_saas.connector.routes import EventId, EventPlace, EventPlaces, RecordPlace, TypePattern
from tap_saas.connector.signed_text import SignedText
from tap_saas.connector.template import Template, Tree
from tap_saas.connector.units import ByteSize, Duration, Percent

GOOD: dict[type, list[Any]] = {
    Path: ["$.a[0]", "name"],
    Paths: ["id", ["updated_at", "id"]],
    Place: ["param:x", "status"],
    TakenFrom: ["header:X", "$.a"],
    SentTo: ["param:x", "body:$.a"],
    Condition: ["$.ok == false", ["a", "status in [1, 2]"]],
    Template: ["Bearer {key}", ""],
    Tree: [{"a": ["{b}"]}, "x", 5],
    Duration: ["30s"],
    ByteSize: ["10MB"],
    Percent: ["5%", 0],
    InstantFormat: ["epoch_s", "%Y@Europe/Berlin"],
    EventPlace: ["$.id", "header:X-Id", "id"],
    EventPlaces: ["$.id", ["header:X-Topic", "action"]],
    EventId: ["hash", "$.id", ["$.a", "header:X-Id"]],
    TypePattern: ["order.*", "*"],
    RecordPlace: ["$.data", {"id": "$.key", "at": "$.at"}],
    ArrivedCondition: ["param:mode == x", ["$.a", "header:X-A in [1, 2]"]],
    SignedText: ["{ts}.{body}"],
}
BAD: dict[type, list[Any]] = {
    Path: ["$.a b", 5],
    Paths: [[], ["$.a b"], 5],
    Place: ["header:", None],
    TakenFrom: ["param:x"],
    SentTo: ["status"],
    Condition: ["a ==", [], 5],
    Template: ["{", 5],
    Duration: ["5", 5],
    ByteSize: ["5", 5],
    Percent: ["5", 0.5],
    InstantFormat: ["iso", 5],
    EventPlace: ["param:id", "status", 5],
    EventPlaces: [[], "param:x", 5],
    EventId: [[], "$.a b", 5],
    TypePattern: ["", 5],
    RecordPlace: [{}, "$.a b", {"id": "$["}, ["$.a"]],
    ArrivedCondition: ["status == 200", [], 5],
    SignedText: ["{nothing}", 5],
}


class Sample(msgspec.Struct, frozen=True):
    """Fields as the model has them."""

    path: Path
    lasts: Duration = Duration(seconds=1)
    size: ByteSize | None = None
    share: Percent | None = None


def test_notations_decode_inside_a_struct() -> None:
    raw = {"path": "id", "lasts": "5m", "size": "2KB", "share": "50%"}
    sample = msgspec.convert(raw, Sample, dec_hook=decode_notation)
    assert sample == Sample(Path.parse("$.id"), Duration(minutes=5), ByteSize(2000), Percent(0.5))
    assert sample.lasts == timedelta(minutes=5)
    assert type(sample.lasts) is Duration


def test_mistake_inside_a_struct_is_told_with_its_place() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"'5' is not a duration.*\$\.lasts"):
        msgspec.convert({"path": "id", "lasts": "5"}, Sample, dec_hook=decode_notation)


def test_other_types_are_no_notation() -> None:
    with pytest.raises(NotImplementedError, match="set is not a notation"):
        decode_notation(set, [])


def test_each_notation_has_examples_here() -> None:
    assert set(SCHEMAS) == set(GOOD) == {*BAD, Tree}


@pytest.mark.parametrize("kind", GOOD)
def test_schema_takes_what_decodes_and_nothing_else(kind: type) -> None:
    checker = FormatChecker(formats=())
    for name, parse in FORMATS.items():
        checker.checks(name, raises=ValueError)(lambda raw, parse=parse: bool([parse(raw)]))
    validator = Draft202012Validator(dict(SCHEMAS[kind]), format_checker=checker)
    for raw in GOOD[kind]:
        assert type(decode_notation(kind, raw)) is kind
        assert validator.is_valid(raw)
    for raw in BAD.get(kind, []):
        assert not validator.is_valid(raw)
        with pytest.raises(ValueError):  # noqa: PT011 - each notation's own test has the lines
            decode_notation(kind, raw)


@pytest.mark.parametrize("kind", [one for one in GOOD if one not in {Duration, ByteSize, Percent}])
def test_equal_texts_are_equal_values(kind: type) -> None:
    for raw in GOOD[kind]:
        one, other = decode_notation(kind, raw), decode_notation(kind, raw)
        assert one == other
        assert len({one, other}) == 1
        assert repr(one) == f"{kind.__name__}({str(one)!r})"
    assert decode_notation(kind, GOOD[kind][0]) != str(GOOD[kind][0])
