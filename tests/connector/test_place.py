"""Places and conditions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tap_saas.connector.exchange import Body, Headers, Request, Response
from tap_saas.connector.place import Condition, Place, SentTo, TakenFrom

BODY = b"""{"ok": false, "count": 3, "type": "order", "list": [1, "a", true], "none": null,
"empty": {}, "x y": {"z": "in"}, "errors": [{"code": "RATE"}, {"code": "B"}], "text": "a == b"}"""


def answered(body: bytes = BODY, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        status=status,
        headers=Headers(named),
        body=body,
        url="https://x.example/",
        received_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


RESPONSE = answered(X_Left="5", X_Kind="a,b")
REQUEST = Request(url="https://x.example/", params=(("page", "1"), ("q", "z")))


@pytest.mark.parametrize(
    ("text", "kind", "name", "value"),
    [
        ("$.count", "body", "$.count", 3),
        ("count", "body", "$.count", 3),
        ("body:$['x y'].z", "body", "$['x y'].z", "in"),
        ("$.errors[*].code", "body", "$.errors[*].code", ["RATE", "B"]),
        ("$.missing.more", "body", "$.missing.more", UNSET),
        ("header:x-left", "header", "x-left", "5"),
        ("header:X-Other", "header", "X-Other", UNSET),
        ("status", "status", "status", 200),
        ("param:created[gte]", "param", "created[gte]", UNSET),
    ],
)
def test_place_is_read(text: str, kind: str, name: str, value: Any) -> None:
    place = Place.parse(text)
    assert (place.kind, place.name) == (kind, name)
    assert place.read(RESPONSE) == value
    assert Place.parse(str(place)) == place


def test_place_in_a_page_of_html_is_not_there() -> None:
    assert Place.parse("$.ok").read(answered(b"<html>")) is UNSET
    assert not Condition.parse("$.ok == false").holds(answered(b"<html>"))


@pytest.mark.parametrize(
    ("place", "value", "request_"),
    [
        ("param:page", 2, Request(url="u", params=(("page", "2"), ("q", "z")))),
        ("param:page", UNSET, Request(url="u", params=(("q", "z"),))),
        ("param:new", True, Request(url="u", params=(("page", "1"), ("q", "z"), ("new", "true")))),
        (
            "header:x-page",
            "b",
            Request(url="u", params=(("page", "1"), ("q", "z")), headers=(("x-page", "b"),)),
        ),
        (
            "body:$.page.after",
            3,
            Request(
                url="u",
                params=(("page", "1"), ("q", "z")),
                body=Body("json", {"page": {"after": 3}}),
            ),
        ),
    ],
)
def test_value_is_put_into_a_request(place: str, value: Any, request_: Request) -> None:
    request = Request(url="u", params=REQUEST.params)
    assert SentTo.parse(place).put(request, value) == request_


def test_value_joins_a_body_and_leaves_the_template_alone() -> None:
    body = Body("form", {"a": 1})
    changed = SentTo.parse("body:cursor").put(Request(url="u", body=body), "c")
    assert changed.body == Body("form", {"a": 1, "cursor": "c"})
    assert body == Body("form", {"a": 1})


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        (Place, "", "a place is empty; write one such as $.next, header:X-Next or param:page"),
        (Place, "header:", "place 'header:' has no header name"),
        (Place, "header:a b", "has no header name"),
        (Place, "param:", "has no parameter name"),
        (Place, "cookie:x", "path 'cookie:x' must start with $"),
        (Place, 7, "a place is a text such as"),
        (TakenFrom, "param:x", "place 'param:x' cannot be used here; write one such as $.next"),
        (SentTo, "status", "place 'status' cannot be used here; write one such as param:page"),
        (SentTo, "body:$.a[0]", "nothing can be sent to $.a[0]; use member names only"),
    ],
)
def test_wrong_place_is_one_line(kind: type[Place], text: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        kind.parse(text)
    assert line in str(raised.value)


def test_nothing_is_put_into_a_text() -> None:
    with pytest.raises(ValueError, match=r"nothing can be sent to \$\.a"):
        Place.parse("$.a").put(Request(url="u", body=Body("text", "x")), 1)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("$.ok == false", True),
        ("$.ok != true", True),
        ("$.ok == 0", False),
        ("ok", False),
        ("count", True),
        ("$.none", False),
        ("$.empty", False),
        ("$.missing", False),
        ("$.missing == null", True),
        ("$.missing != null", False),
        ("$.none == null", True),
        ("$.count==3", True),
        ("$.count>=3", True),
        ("$.count < 3", False),
        ("$.count < 'b'", False),
        ("$.missing < 3", False),
        ("$.ok < 3", False),
        ("$.type == order", True),
        ('$.type == "order"', True),
        ("$.type > a", True),
        ("$.type in [invoice, order]", True),
        ("$.type in ['invoice', \"line\"]", False),
        ("$.type contains 'rd'", True),
        ("$.list contains 1", True),
        ("$.list contains true", True),
        ("$.list contains 0", False),
        ("$.list contains b", False),
        ("$.errors[*].code contains RATE", True),
        ("$['x y'] contains z", True),
        ("$['x y'].z == in", True),
        ("$.text == 'a == b'", True),
        ("$.count contains 3", False),
        ("status == 200", True),
        ("status in [403, 404]", False),
        ("header:X-Left < 6", True),
        ("header:X-Left in [4, 5]", True),
        ("header:X-Left == '5'", True),
        ("header:X-Kind contains b", True),
        ("header:X-Kind > 3", False),
        ("header:X-None == null", True),
        (["ok == false", "status == 200"], True),
        (["ok == false", "status == 201"], False),
    ],
)
def test_condition_holds(text: Any, holds: bool) -> None:
    assert Condition.parse(text).holds(RESPONSE) is holds


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "a condition is empty; write one such as $.ok == false"),
        ([], "a condition is a text such as $.ok == false, not []"),
        (["ok", 5], "not 5"),
        ("$.a = 3", "condition '$.a = 3' is not PLACE OP LITERAL"),
        ("$.a ==", "is not PLACE OP LITERAL"),
        ("$.a && $.b", "a list of conditions means all of them"),
        ("$.a == b c", 'has a wrong literal b c; quote a text, as in "a b"'),
        ("$.a in 3", "needs a list after in"),
        ("$.a < null", "needs a number or a text after <"),
        ("param:x == 1", "cannot be used here; write one such as $.next or header:X-Next"),
    ],
)
def test_wrong_condition_is_one_line(text: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        Condition.parse(text)
    assert line in str(raised.value)


def test_condition_on_a_record_asks_the_body_only() -> None:
    assert Condition.parse(["deleted", "kind == x"]).holds_in({"deleted": True, "kind": "x"})
    assert not Condition.parse("deleted").holds_in({})
    with pytest.raises(ValueError, match="asks for status, which a record has not"):
        Condition.parse("status == 200").holds_in({})


scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text("abc ", max_size=3))


@given(scalars, st.one_of(st.booleans(), st.integers(), st.just("a"), st.just("b c")))
def test_opposite_conditions_never_agree(value: Any, literal: Any) -> None:
    record = {"a": value}
    written = json.dumps(literal)
    equal = Condition.parse(f"a == {written}").holds_in(record)
    assert equal is not Condition.parse(f"a != {written}").holds_in(record)
    assert equal is Condition.parse(f"a in [{written}]").holds_in(record)
    assert equal == (type(value) is type(literal) and value == literal)
