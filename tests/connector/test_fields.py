"""What becomes of a record's fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.decoding import decode
from tap_saas.connector.fields import Fields, ShapeError, digest, parser, shaper
from tap_saas.connector.jsonpath import Path


def shaped(record: dict[str, Any], values: dict[str, Any] | None = None, **options: Any) -> Any:
    fields = msgspec.convert(options, Fields, dec_hook=decode)
    shape = shaper(fields, {}, [], values or {})
    return record if shape is None else shape(record)


@pytest.mark.parametrize(
    ("options", "record", "result"),
    [
        ({"lift": ["$.p"]}, {"id": 1, "p": {"id": 2, "a": 3}}, {"id": 1, "a": 3}),
        ({"lift": ["$.p"]}, {"p": {"p": 5}}, {"p": 5}),
        ({"lift": ["$.a.b"]}, {"a": {"b": {"c": 1}, "d": 2}}, {"a": {"d": 2}, "c": 1}),
        ({"lift": ["$.p"]}, {"p": None}, {"p": None}),
        ({"lift": ["$.p"]}, {"a": 1}, {"a": 1}),
        ({"rename": {"a": "b", "b": "a"}}, {"a": 1, "b": 2}, {"b": 1, "a": 2}),
        ({"rename": {"a": "b"}}, {"c": 1}, {"c": 1}),
        ({"drop": ["a", "x"]}, {"a": 1, "b": 2}, {"b": 2}),
        ({"add": {"t": "v-{region}", "n": 5}}, {}, {"t": "v-eu", "n": 5}),
        ({"add": {"t": "{unset}"}}, {"a": 1}, {"a": 1}),
        ({"parse": {"a": "epoch_s"}}, {"a": 0}, {"a": "1970-01-01T00:00:00Z"}),
        ({"parse": {"a": "%Y/%m/%d@Etc/GMT-9"}}, {"a": "2025/1/1"}, {"a": "2024-12-31T15:00:00Z"}),
        ({"parse": {"a": "json"}}, {"a": '{"b": [1]}'}, {"a": {"b": [1]}}),
        ({"parse": {"a": "json"}}, {"a": "  "}, {"a": None}),
        ({"parse": {"a": "json"}}, {"a": [1]}, {"a": [1]}),
        ({"parse": {"a": "decimal"}}, {"a": "1.10"}, {"a": Decimal("1.10")}),
        ({"parse": {"a": "decimal"}}, {"a": None}, {"a": None}),
        ({"parse": {"a": "decimal"}}, {}, {}),
        ({"keep_if": "$.a == 1", "drop": ["a"]}, {"a": 1}, {}),
        ({"keep_if": "$.a == 1"}, {"a": 2}, None),
        ({"lift": ["$.p"], "rename": {"x": "y"}, "parse": {"y": "epoch_s"}, "keep_if": "$.y"},
         {"p": {"x": 0}}, {"y": "1970-01-01T00:00:00Z"}),
    ],
)  # fmt: skip
def test_fields_are_shaped_in_order(options: Any, record: Any, result: Any) -> None:
    assert shaped(record, {"region": "eu"}, **options) == result


@pytest.mark.parametrize(
    ("format", "value"),
    [
        ("json", "{"),
        ("decimal", "x"),
        ("decimal", True),
        ("decimal", []),
        ("decimal", "NaN"),
        ("epoch_s", "x"),
        ("iso8601", "2025-02-30"),
    ],
)
def test_a_value_that_cannot_be_parsed_names_its_field(format: str, value: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        shaped({"a": value}, parse={"a": format})
    assert caught.value.field == "a"
    assert str(caught.value)


def test_records_stay_as_they_are_where_nothing_is_said() -> None:
    assert shaper(None, {}, [], {}) is None
    assert shaper(Fields(), {}, [], {}) is None
    assert shaper(Fields(parse={}), {"a": Path.parse("$.b.a")}, [], {}) is not None


def test_nested_values_become_columns_unless_the_record_has_its_own() -> None:
    shape = shaper(None, {"c": Path.parse("$.b.c"), "d": Path.parse("$.b.d")}, [], {})
    assert shape is not None
    assert shape({"b": {"c": 1, "d": 2}, "d": 3}) == {"b": {"c": 1, "d": 2}, "c": 1, "d": 3}
    assert shape({}) == {}


def test_a_digest_names_a_record_without_an_id() -> None:
    shape = shaper(None, {}, [Path.parse("day"), Path.parse("$.country.code")], {})
    assert shape is not None
    first = shape({"day": "2025-01-01", "country": {"code": "de"}, "n": 1})
    again = shape({"day": "2025-01-01", "country": {"code": "de"}, "n": 2})
    other = shape({"day": "2025-01-01"})
    assert first is not None
    assert again is not None
    assert other is not None
    assert first["_key"] == again["_key"] != other["_key"]
    assert len(first["_key"]) == 64
    with pytest.raises(ShapeError, match="has a value"):
        shape({"n": 1})


def test_a_digest_is_never_another_in_a_later_version() -> None:
    assert digest(["2025-01-01", 1, None]) == (
        "e42fdcede511078d6c7d2bfab4e55ad665e25aebf81956c285b33178b388ae1a"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.lists(JSON, min_size=1, max_size=3))
def test_a_digest_does_not_depend_on_how_json_was_decoded(values: list[Any]) -> None:
    text = msgspec.json.encode(values)
    exact = msgspec.json.decode(text, strict=False)
    decimals = msgspec.json.Decoder(float_hook=Decimal).decode(text)
    assert digest(exact) == digest(decimals)


def test_a_digest_tells_values_apart() -> None:
    values: list[list[Any]] = [
        ["a", "b"],
        ["ab", ""],
        ["1"],
        [1],
        [1.5],
        ["1.5"],
        [True],
        [None],
        [[1]],
    ]
    assert len({digest(value) for value in values}) == len(values)
    assert digest([1]) == digest([1.0]) == digest([Decimal("1.00")])
    assert digest([0.5]) == digest([Decimal("0.500")])
    assert digest([{"a": 1, "b": 2}]) == digest([{"b": 2, "a": 1}])
    assert digest([Decimal("1e9999999")])


def test_types_of_parsed_fields_are_known() -> None:
    fields = Fields(parse={"a": "epoch_s", "b": "decimal", "c": "json"})
    assert fields.types == {
        "a": {"type": ["string", "null"], "format": "date-time"},
        "b": {"type": ["string", "null"], "format": "x-singer.decimal"},
    }


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown format"):
        parser("epoch")
