"""YAML 1.2 core, the line of every key, and clear words about what is no YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.mistake import LineMap
from tap_saas.connector.yaml_reader import MAX_BYTES, Source, read_text
from tap_saas.errors import ConnectorError


def read(text: str | bytes) -> Source:
    return read_text(text if isinstance(text, bytes) else text.encode(), Path("a.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("0123", "0123"),
        ("-012", "-012"),
        ("2020-01-01", "2020-01-01"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("=", "="),
        (".nan", ".nan"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("'5'", "5"),
        ('"no"', "no"),
        ("!!str 5", "5"),
        ("1" * 400, "1" * 400),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    found = read(f"a: {text}\n").value["a"]
    assert found == value
    assert type(found) is type(value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], max_codepoint=0xFFFF)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON)
def test_json_is_yaml(value: Any) -> None:
    if "\\u" in json.dumps(value, ensure_ascii=False):
        return
    assert read(json.dumps({"a": value})).value == {"a": value}


def test_every_key_and_item_has_its_line() -> None:
    source = read("a: 1\nb:\n  c:\n    - x\n    - {d: 2}\ne: &e\n  f: 3\ng: *e\n")
    lines = source.lines
    assert lines.line(("a",)) == 1
    assert lines.line(("b", "c", 1, "d")) == 5
    assert lines.line(("g",)) == 8
    assert lines.line(("g", "f")) == 7
    assert lines.line(("b", "c", 7, "nowhere")) == 3
    assert lines.line(("nowhere",)) == 1


def test_a_merged_key_is_found_where_it_was_written() -> None:
    lines = LineMap(
        {
            ("headers",): 1,
            ("headers", "A"): 2,
            ("defaults",): 3,
            ("defaults", "records"): 4,
            ("streams",): 5,
            ("streams", "a"): 6,
            ("streams", "a", "path"): 7,
        }
    )
    assert lines.line(("streams", "a", "path")) == 7
    assert lines.line(("streams", "a", "records", "at")) == 4
    assert lines.source(("streams", "a", "headers", "A")) == ("headers", "A")
    assert lines.line(("streams", "a", "missing")) == 6
    assert lines.source(("check", "headers", "A")) == ("headers", "A")


def test_an_anchor_may_be_used_again_and_is_never_the_same_object_as_text() -> None:
    source = read("a: &x {b: [1]}\nc: *x\nd: [*x, 2]\n")
    assert source.value == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, 2]}
    assert source.value["a"] is not source.value["c"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2\n", 'a.yaml:2: the key "a" is given twice, first in line 1; keep one'),
        (
            "a:\n  b: 1\n  b: 2\n",
            'a.yaml:3: a: the key "b" is given twice, first in line 2; keep one',
        ),
    ],
)
def test_two_equal_keys_are_a_mistake(text: str, line: str) -> None:
    assert [str(mistake) for mistake in read(text).mistakes] == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a: \xff\n", "a.yaml:1: the file is not UTF-8; save it as UTF-8"),
        (b"a: " + b"x" * MAX_BYTES, "a.yaml:1: the file is over 4 MB; split it"),
        (
            b'a: "\\ud800"\n',
            "a.yaml:1: half of a surrogate pair is no letter; write the letter itself",
        ),
        (b"a: 1\n? [b]\n: 2\n", "a.yaml:2: a key is not a text; quote it"),
        (b"a: \x00\n", "a.yaml:1: not YAML: unacceptable character #x0000: special characters are"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: bytes, line: str) -> None:
    with pytest.raises(ConnectorError) as caught:
        read(text)
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(line)


@given(st.binary(max_size=60) | st.text("{}[]:-,&*!#|>'\"\n\t ab?%@", max_size=40).map(str.encode))
def test_garbage_is_a_value_or_one_clear_line(raw: bytes) -> None:
    try:
        lines = [str(type(read(raw).value))]
    except ConnectorError as error:
        lines = error.lines
    assert len(lines) == 1
    assert "\n" not in lines[0]
