"""Values into their columns."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.formats import read_instant
from tap_saas.sync.columns import Columns, bad_name, fits_double, kind_of, learn, short_name
from tap_saas.sync.convert import BadValueError, WidensError, clean, convert

REFUSED: list[tuple[str, Any, str]] = [
    ("date-time", "", "bad_date"),
    ("date-time", "2025-02-30T00:00:00Z", "bad_date"),
    ("date-time", "2025-01-01T00:00:60Z", "bad_date"),
    ("date-time", "0000-01-01T00:00:00Z", "bad_date"),
    ("date-time", 5, "bad_date"),
    ("date", "2025-01-01T10:00:00Z", "bad_date"),
    ("date", "2025-13-01", "bad_date"),
    ("time", "25:00:00", "bad_date"),
    ("integer", 1.5, "bad_type"),
    ("integer", True, "bad_type"),
    ("integer", "7", "bad_type"),
    ("integer", 2**63, "out_of_range"),
    ("integer", Decimal("1e400"), "out_of_range"),
    ("number", "1", "bad_type"),
    ("number", Decimal("1e200000"), "out_of_range"),
    ("boolean", 1, "bad_type"),
    ("string", 1, "bad_type"),
    ("uuid", "nope", "bad_type"),
    ("object", [], "bad_type"),
    ("array", {}, "bad_type"),
    ("decimal", "abc", "bad_type"),
]
ACCEPTED: list[tuple[str, Any, Any]] = [
    ("date-time", "2025-01-01T02:00:00+02:00", "2025-01-01T00:00:00Z"),
    ("date-time", "2025-01-01 00:00:00", "2025-01-01T00:00:00Z"),
    ("date-time", "2025-01-01", "2025-01-01T00:00:00Z"),
    ("date-time", "2025-01-01T00:00:00.9999999Z", "2025-01-01T00:00:00.999999Z"),
    ("date", "2025-01-01T00:00:00Z", "2025-01-01"),
    ("integer", 1.0, 1),
    ("integer", Decimal("4.0"), 4),
    ("number", float("nan"), None),
    ("string", "a\x00b\ud800", "a\ufffdb\ufffd"),
    ("decimal", Decimal("1.0000000000000000001"), "1.0000000000000000001"),
    ("decimal", "12.50", "12.50"),
    ("text", {"a": [1]}, '{"a":[1]}'),
    ("text", 7, "7"),
    ("object", {"a\x00": ["\x00", float("inf")]}, {"a\ufffd": ["\ufffd", None]}),
]


@pytest.mark.parametrize(("kind", "value", "error"), REFUSED)
def test_refused(kind: Any, value: Any, error: str) -> None:
    with pytest.raises(BadValueError) as refused:
        convert(kind, value)
    assert refused.value.error == error


@pytest.mark.parametrize(("kind", "value", "expected"), ACCEPTED)
def test_normalised(kind: Any, value: Any, expected: Any) -> None:
    assert convert(kind, value) == expected


def test_a_long_number_widens_its_column() -> None:
    with pytest.raises(WidensError):
        convert("number", Decimal("12345678901234567.89"))


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_that_fits_a_double_comes_back_from_one(number: Decimal) -> None:
    if fits_double(number):
        assert Decimal(repr(float(number))) == number


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_what_is_cleaned_is_json_that_jsonb_takes(value: Any) -> None:
    text = msgspec.json.encode(clean(value)).decode()
    assert "\\u0000" not in text
    json.loads(text, parse_constant=lambda constant: pytest.fail(constant))


@given(st.text(min_size=1))
def test_short_names_fit_and_are_told_apart(name: str) -> None:
    raw = name.encode(errors="replace").decode()
    assert len(short_name(raw).encode()) <= 63
    long = raw * 70
    assert len(short_name(long).encode()) <= 63
    assert short_name(long) != short_name(long + "x")


@pytest.mark.parametrize("name", ["", 'a"b', "50%", "_sdc_deleted_at", "a\x00"])
def test_bad_names(name: str) -> None:
    assert bad_name(name)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": ["null", "string"], "format": "date-time"}, "date-time"),
        ({"type": ["string", "integer"]}, "text"),
        ({}, "text"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"type": ["integer", "number"]}, "number"),
        ({"type": "string", "format": "x-singer.decimal"}, "decimal"),
    ],
)
def test_kinds(schema: dict[str, Any], kind: str) -> None:
    assert kind_of(schema) == kind


def test_learnt_columns_survive_state() -> None:
    columns = Columns.declared(
        {"properties": {"id": {"type": "integer"}, "price": {"type": "number"}}}
    )
    seen = learn("when", "2025-01-01T00:00:00Z", reads=read_instant)
    assert seen is not None
    grown = columns.with_([seen]).with_learnt([["price", "decimal"]])
    again = columns.with_learnt(json.loads(json.dumps(grown.learnt())))
    assert again.json_schema() == grown.json_schema()
    assert grown.by_name["price"].kind == "decimal"
