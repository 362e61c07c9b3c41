"""Paths: what they find, how they are printed, what they refuse."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from tap_saas.connector.jsonpath import EVERY, Path

DOCUMENT = {
    "a": {"b": [{"c": 1}, {"c": 2}, {}]},
    "x y": [5, 6],
    "none": None,
    "groups": {"p": {"items": [1, 2]}, "q": {"items": [3]}, "r": {"items": None}, "s": {}},
    "rows": [[1, 2], [3, 4]],
    "@odata.next": "u",
    "first-name": "Ada",
}

names = st.text(min_size=1, max_size=8)
steps = st.lists(st.one_of(names, st.integers(-3, 9), st.just(EVERY)), max_size=5)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("$", DOCUMENT),
        ("none", None),
        ("$.a.b[0].c", 1),
        ("$.a.b[-2].c", 2),
        ("$['x y'][1]", 6),
        ('$["x y"][2]', UNSET),
        ("$['@odata.next']", "u"),
        ("first-name", "Ada"),
        ("$.none.more", UNSET),
        ("$.a.b.c", UNSET),
        ("$.a[0]", UNSET),
        ("$.a.b[*].c", [1, 2]),
        ("$.groups.*.items[*]", [1, 2, 3]),
        ("$.rows[*]", [[1, 2], [3, 4]]),
        ("$.rows[*][1]", [2, 4]),
        ("$.missing[*]", []),
    ],
)
def test_path_finds(text: str, got: Any) -> None:
    assert Path.parse(text).get(DOCUMENT) == got


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("$.a.b", DOCUMENT["a"]["b"]),
        ("$.a", [DOCUMENT["a"]]),
        ("$.none", []),
        ("$.missing", UNSET),
        ("$.missing[*]", UNSET),
        ("$.groups[*].items", [1, 2, 3]),
        ("$.rows", [[1, 2], [3, 4]]),
        ("$.rows[*]", [[1, 2], [3, 4]]),
        ("first-name", ["Ada"]),
    ],
)
def test_items_are_those_of_the_list_at_the_path(text: str, got: Any) -> None:
    assert Path.parse(text).items(DOCUMENT) == got


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("$.a b", "path '$.a b' is wrong from ' b' on; it may hold .name ['name'] [0] [*] .*"),
        ("$.a[?@.b]", "path '$.a[?@.b]' is wrong from '[?@.b]' on; it may hold"),
        ("$..a", "path '$..a' is wrong from '..a' on"),
        ("a.b", "path 'a.b' must start with $; write $.a.b"),
        ("$['\\q']", "wrong escape"),
        ("", "a path is empty"),
        (None, "a path is a text such as $.data.items, not None"),
    ],
)
def test_wrong_path_says_where(text: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        Path.parse(text)
    assert line in str(raised.value)


@given(steps)
def test_printed_path_reads_back(steps: list[Any]) -> None:
    path = Path(steps)
    again = Path.parse(str(path))
    assert again.steps == path.steps
    assert again == path
    assert hash(again) == hash(path)


@given(json_values, steps)
def test_compiled_getter_agrees_with_a_plain_walk(value: Any, steps: list[Any]) -> None:
    found = [value]
    for step in steps:
        found = [inner for each in found for inner in one_step(each, step)]
    got = Path(steps).get(value)
    assert got == found if EVERY in steps else got == (found[0] if found else UNSET)


def one_step(value: Any, step: Any) -> list[Any]:
    if step is EVERY:
        return (
            list(value.values())
            if isinstance(value, dict)
            else value
            if isinstance(value, list)
            else []
        )
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    return [value[step]] if isinstance(value, list) and -len(value) <= step < len(value) else []


@given(st.dictionaries(names, json_values, max_size=3), st.lists(names, min_size=1, max_size=3))
def test_set_value_is_got_and_the_original_stays(value: dict[str, Any], keys: list[str]) -> None:
    path, before = Path(keys), copy.deepcopy(value)
    with contextlib.suppress(ValueError):  # the way leads through something that is no object
        changed = path.set(value, "new")
        assert path.get(changed) == "new"
        assert path.get(path.set(changed, UNSET)) is UNSET
    assert value == before


def test_set_refuses_to_replace_what_is_no_object() -> None:
    with pytest.raises(ValueError, match=r"\$\.a\.b cannot be set: there is no object"):
        Path.parse("$.a.b").set({"a": [1]}, 1)


def test_set_refuses_an_index() -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        Path.parse("$.a[0]").set({}, 1)


def test_keys_are_known_for_plain_members_only() -> None:
    assert Path.parse("$.a['b c']").keys == ("a", "b c")
    assert Path.parse("$").keys == ()
    assert Path.parse("$.a[0]").keys is None
    assert Path.parse("$.a[*]").keys is None
