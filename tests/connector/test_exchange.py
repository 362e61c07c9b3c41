"""Requests, responses and bodies of which only a part is decoded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tap_saas.connector.exchange import Body, Document, Headers, Page, Request, Response
from tap_saas.connector.jsonpath import EVERY, Path

NOW = datetime(2025, 1, 1, tzinfo=UTC)
names = st.text('ab" \\é', min_size=1, max_size=2)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
paths = st.lists(st.one_of(names, names, st.integers(-2, 2), st.just(EVERY)), max_size=3).map(Path)


def test_parameter_is_replaced_where_it_stood() -> None:
    request = Request(url="u", params=(("a", "1"), ("b", "2"), ("a", "3")))
    assert request.with_param("a", 4).params == (("a", "4"), ("b", "2"))
    assert request.with_param("a", [5, True]).params == (("a", "5"), ("a", "true"), ("b", "2"))
    assert request.with_param("a", None).params == (("b", "2"),)
    assert request.with_param("b", UNSET).params == (("a", "1"), ("a", "3"))
    assert request.with_param("c", False).params[-1] == ("c", "false")
    assert request.with_param("A", 1).params[-1] == ("A", "1")


def test_header_is_replaced_in_any_case() -> None:
    request = Request(url="u", headers=(("X-Page", "1"), ("B", "2")))
    assert request.with_header("x-page", 3).headers == (("x-page", "3"), ("B", "2"))
    assert request.with_header("X-PAGE", None).headers == (("B", "2"),)


def test_link_drops_the_parameters_and_keeps_the_rest() -> None:
    request = Request(method="POST", url="u", params=(("a", "1"),), body=Body("json", {}))
    following = request.with_url("v?b=2")
    assert following == Request(method="POST", url="v?b=2", body=Body("json", {}))
    assert following.with_json([1]).body == Body("json", [1])


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        (Body("json", {"a": "é", "b": [1.5, None]}), '{"a":"\\u00e9","b":[1.5,null]}', "json"),
        (Body("form", {"a": [1, True], "b": "x y&"}), "a=1&a=true&b=x+y%26", "form"),
        (Body("text", "é"), "é", "text/plain; charset=utf-8"),
    ],
)
def test_body_is_encoded(body: Body, sent: str, kind: str) -> None:
    data, content_type = body.encode()
    assert data == sent.encode()
    assert kind in content_type


def test_headers_are_found_in_any_case() -> None:
    headers = Headers({"Content-Type": "x", "Link": "y"})
    assert headers["content-type"] == headers.get("CONTENT-TYPE") == "x"
    assert list(headers) == ["Content-Type", "Link"]
    assert "link" in headers
    assert headers.get("other") is None


def test_document_of_a_response_is_made_once() -> None:
    response = Response(status=200, headers=Headers({}), body=b"{}", url="u", received_at=NOW)
    assert response.document is response.document


@given(json_values, paths, st.booleans())
def test_part_of_a_document_is_what_the_whole_has_there(
    value: Any, path: Path, whole_first: bool
) -> None:
    document = Document(json.dumps(value).encode())
    if whole_first:
        assert document.value == value
    assert document.get(path) == path.get(value)
    assert document.exact(path) == path.get(value)
    raw = document.raw(path)
    there = path.get(value)
    assert (raw is None) is (path.keys is None or there is UNSET)
    assert raw is None or json.loads(raw) == there


def test_part_of_a_document_does_not_look_at_the_rest() -> None:
    document = Document(b'{"data": [{"price": 1.10}], "next": "c1", "bad": "\xff"}')
    assert document.raw(Path.parse("$.data")) == b'[{"price": 1.10}]'
    assert document.get(Path.parse("$.next")) == "c1"


@pytest.mark.parametrize(
    "body",
    [b'{"a": NaN, "b": 1}', b'{"a": "\\ud800", "b": 1}', b'\xef\xbb\xbf{"a": 2, "b": 1}'],
)
def test_body_that_msgspec_refuses_is_still_read(body: bytes) -> None:
    assert Document(body).value["b"] == 1
    assert Document(body).get(Path.parse("$.b")) == 1
    assert Document(body).exact(Path.parse("$.b")) == 1


def test_exact_numbers_keep_their_digits() -> None:
    body = b'{"a": [1.10, 12345678901234567890123, 1.0000000000000000001, 5], "nan": NaN}'
    expected = [Decimal("1.10"), 12345678901234567890123, Decimal("1.0000000000000000001"), 5]
    path = Path.parse("$.a")
    assert list(map(str, Document(body).exact(path))) == list(map(str, expected))
    plain = Document(body.replace(b', "nan": NaN', b""))
    assert list(map(str, plain.exact(path))) == list(map(str, expected))
    assert type(plain.get(path)[0]) is float


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a": [1, 2', b'{"a": 1}x', b'"\xff"', b"[" * 100_000]
)
def test_body_that_is_not_json_raises(body: bytes) -> None:
    for read in (
        lambda document: document.value,
        lambda document: document.get(Path.parse("$.a")),
        lambda document: document.exact(Path.parse("$.a")),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the words are the decoder's
            read(Document(body))
    assert Document(body).raw(Path.parse("$.a")) is None


def page(records: list[Any]) -> Page:
    response = Response(status=200, headers=Headers({}), body=b"", url="u", received_at=NOW)
    return Page(number=1, token=None, response=response, records=records, received=len(records))


def test_last_record_is_read_in_both_lanes() -> None:
    inner = msgspec.defstruct("Inner", [("f0", int)], rename={"f0": "c d"})
    outer = msgspec.defstruct(
        "Outer",
        [("f0", int), ("f1", inner), ("f2", dict)],
        rename={"f0": "id", "f1": "a", "f2": "b"},
    )
    struct = page([outer(0, inner(0), {}), outer(1, inner(2), {"x": [3]})])
    plain = page([{}, {"id": 1, "a": {"c d": 2}, "b": {"x": [3]}}])
    for text, value in (("id", 1), ("$.a['c d']", 2), ("$.b.x[0]", 3), ("zz", UNSET)):
        assert struct.last(Path.parse(text)) == plain.last(Path.parse(text)) == value
    assert page([]).last(Path.parse("id")) is UNSET
