"""Templates: what they list, how they are filled, what vanishes with a missing value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tap_saas.connector.template import Placeholder, Template, Tree

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
VALUES = {
    "n": 5,
    "flag": True,
    "word": "a b/c",
    "list": [1, "x"],
    "start": NOON,
    "day": "2025-01-02",
    "nothing": None,
    "unset": UNSET,
    "token": {"instance_url": "https://eu.acme.example", "deep": {"er": 1}},
}

placeholders = st.builds(
    Placeholder,
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True),
    st.sampled_from([None, "json", "urlencode", "epoch_ms", "%Y-%m-%d", "date@Europe/Berlin"]),
)
parts = st.lists(st.one_of(st.text(min_size=1, max_size=6), placeholders), max_size=6)


@given(parts)
def test_printed_template_reads_back(parts: list[Any]) -> None:
    printed = str(Template(parts))
    again = Template.parse(printed)
    assert str(again) == printed
    assert again == Template(parts)
    assert again.names == {part.name for part in parts if isinstance(part, Placeholder)}


@given(st.text())
def test_text_without_placeholders_is_itself(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert Template.parse(escaped).fill({}) == text


@given(
    st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=4),
    st.text(min_size=1, max_size=3),
)
def test_filled_text_is_its_pieces_in_order(pieces: list[tuple[str, str]], last: str) -> None:
    made: list[str | Placeholder] = []
    for at, (literal, _) in enumerate(pieces):
        made += [literal, Placeholder(f"p{at}")]
    template = Template.parse(str(Template([*made, last])))
    values = {f"p{at}": value for at, (_, value) in enumerate(pieces)}
    assert template.fill(values) == "".join(map("".join, pieces)) + last
    quoted = template.fill_quoted(values)
    assert quoted.count("/") == "".join(literal for literal, _ in [*pieces, (last, "")]).count("/")
    if "%" not in "".join(literal for literal, _ in pieces) + last:
        assert unquote(quoted) == template.fill(values)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{n}", 5),
        ("{flag}", True),
        ("{list}", [1, "x"]),
        ("v{n}", "v5"),
        ("v{flag}", "vtrue"),
        ("v{list}", 'v[1,"x"]'),
        ("{list:json}", '[1,"x"]'),
        ("{word:json}", '"a b/c"'),
        ("{word:urlencode}", "a%20b%2Fc"),
        ("{start}", "2025-01-02T12:00:00Z"),
        (">{start}<", ">2025-01-02T12:00:00Z<"),
        ("{start:epoch_ms}", 1735819200000),
        ("t:{start:epoch_s}", "t:1735819200"),
        ("{start:%Y%m%d %H:%M@Asia/Tokyo}", "20250102 21:00"),
        ("{day:epoch_s}", 1735776000),
        ("{token.instance_url}/v1", "https://eu.acme.example/v1"),
        ("{token.deep.er}", 1),
        ("{{{n}}}", "{5}"),
        ("{missing}", UNSET),
        ("a{nothing}", UNSET),
        ("a{unset}b{n}", UNSET),
        ("{token.missing.deeper}", UNSET),
    ],
)
def test_template_is_filled(text: str, filled: Any) -> None:
    got = Template.parse(text).fill(VALUES)
    assert got == filled
    assert type(got) is type(filled)


def test_dotted_name_asks_for_the_token() -> None:
    assert Template.parse("{token.instance_url}").names == {"token"}


def test_value_that_does_not_fit_its_format_raises() -> None:
    with pytest.raises(ValueError, match="'a b/c' is not a date-time"):
        Template.parse("{word:date}").fill(VALUES)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a {", "'a {' has a lone {; write {name} or {name:format}, and {{ for a brace"),
        ("a }", "has a lone }"),
        ("{}", "wrong placeholder {}"),
        ("{a b}", "wrong placeholder {a b}"),
        ("{parent.id}", "wrong placeholder {parent.id}"),
        ("{a:iso}", "placeholder {a:iso}: unknown format 'iso'; use one of iso8601, date"),
        ("{a:%Q}", "format '%Q' cannot be read"),
        (5, "a text is needed here, not 5"),
    ],
)
def test_wrong_template_is_one_line(text: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        Template.parse(text)
    assert line in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "filled"),
    [
        ({"a": "{n}", "b": "{missing}"}, {"a": 5}),
        ({"filter": {"gte": "{missing}"}, "sort": "x"}, {"sort": "x"}),
        ({"filter": {"gte": "{missing}", "all": []}}, {"filter": {"all": []}}),
        ({"a": ["{missing}"], "b": {}, "c": None}, {"b": {}, "c": None}),
        ([{"a": "{missing}"}, "{n}"], [5]),
        ({"a": {"b": ["{missing}"]}}, UNSET),
        ("{missing}", UNSET),
        ({}, {}),
        (7, 7),
    ],
)
def test_tree_leaves_out_what_has_no_value(raw: Any, filled: Any) -> None:
    assert Tree.parse(raw).fill(VALUES) == filled


def test_tree_lists_its_placeholders() -> None:
    tree = Tree.parse({"a": ["{n}", {"b": "{start:date}{end}"}], "{c}": 1})
    assert tree.names == {"n", "start", "end"}


json_constants = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text("abc 1", max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_constants)
def test_tree_without_placeholders_is_itself(raw: Any) -> None:
    assert Tree.parse(raw).fill({}) == raw
