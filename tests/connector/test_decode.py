"""Bodies into records, and the one line where there are none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tap_saas.connector.decode import read_records
from tap_saas.connector.exchange import Headers, Response
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.records_form import Records
from tap_saas.errors import ApiError


def read(body: bytes, status: int = 200, **options: Any) -> list[dict[str, Any]]:
    records = msgspec.convert({"at": "$.data", **options}, Records, dec_hook=decode_notation)
    response = Response(
        status=status,
        headers=Headers({}),
        body=body,
        url="u",
        received_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
    return read_records(records, response)


def test_records_are_the_items_of_the_list() -> None:
    assert read(b'{"data": [{"id": 1}, {"id": 2}]}') == [{"id": 1}, {"id": 2}]
    assert read(b'{"data": {"id": 1}}') == [{"id": 1}]
    assert read(b'{"data": null}') == []
    assert read(b'[{"id": 1}]', at="$") == [{"id": 1}]
    assert read(b'{"a": [{"b": [{"id": 1}]}, {"b": [{"id": 2}]}]}', at="$.a[*].b") == [
        {"id": 1},
        {"id": 2},
    ]


def test_numbers_keep_their_digits() -> None:
    (record,) = read(b'{"data": [{"price": 1.1000000000000000000001}]}')
    assert record["price"] == Decimal("1.1000000000000000000001")


def test_object_of_objects_and_rows_become_records() -> None:
    keyed = read(b'{"data": {"a": {"x": 1}, "b": {"x": 2}}}', keyed="id")
    assert keyed == [{"id": "a", "x": 1}, {"id": "b", "x": 2}]
    rows = read(b'{"data": [[1, 2]], "columns": ["a", "b"]}', header="$.columns")
    assert rows == [{"a": 1, "b": 2}]


def test_answer_without_content_has_no_records() -> None:
    assert read(b"", status=204) == []


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b'{"data2": [], "meta": {}}', "no list at $.data; the body has: data2, meta"),
        (b"{}", "no list at $.data; the body is an empty object"),
        (b"[]", "no list at $.data; the body is a list"),
        (b"null", "no list at $.data; the body is null"),
        (b'{"data": [{}, "x"]}', "record 2 at $.data is a text, not an object"),
        (b'{"data": [null]}', "record 1 at $.data is null, not an object"),
        (b'{"data": 5}', "record 1 at $.data is a number, not an object"),
    ],
)
def test_body_without_records_is_one_line(body: bytes, line: str) -> None:
    with pytest.raises(ApiError) as raised:
        read(body)
    assert str(raised.value) == f"{line}; check records of the stream"


def test_long_body_is_not_told_whole() -> None:
    body = b"{" + b",".join(b'"name%d": 1' % number for number in range(500)) + b"}"
    with pytest.raises(ApiError, match=r"name9 and 490 more; check"):
        read(body)


def test_wrong_header_is_one_line() -> None:
    with pytest.raises(ApiError, match="check records of the stream"):
        read(b'{"data": [[1, 2]], "columns": ["a"]}', header="$.columns")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"<html>\n <body>Maintenance", "the body is not JSON: '<html> <body>Maintenance'"),
        (b'{"data": [{"id": 1}, {"i', """the body is not JSON: '{"data": [{"id": 1}, {"i'"""),
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"\xff\xfe\x00", "the body is not JSON"),
    ],
)
def test_broken_body_is_worth_asking_again(body: bytes, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        read(body)
    assert line in str(raised.value)
    assert len(str(raised.value)) < 120
