"""Every mistake of a connector file in one exact line, all of them at once, in the file's order."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_saas.connector.check import check
from tap_saas.connector.load import load, outline
from tap_saas.connector.yaml_reader import read
from tap_saas.errors import ConfigError, ConnectorError

HEAD = """\
base_url: https://api.example
streams:
  orders:
    path: /orders
    primary_key: [id]
    pagination: {type: single}
"""
STREAMS = """\
streams:
  orders: {path: /orders, primary_key: [id], pagination: {type: single}}
"""


def blocks() -> Iterator[tuple[str, list[str]]]:
    """The files of mistakes.txt and the lines that they must give."""
    text = Path(__file__).with_name("mistakes.txt").read_text()
    for block in text.split("\n\n# ")[1:]:
        kind, *rest = block.splitlines()
        said = [line for line in rest if line and not line.startswith("=> ")]
        told = [line.removeprefix("=> ") for line in rest if line.startswith("=> ")]
        if kind == "stream":
            yield HEAD + "".join(f"    {line}\n" for line in said), told
        else:
            whole = "".join(f"{line}\n" for line in said)
            yield whole.replace("STREAMS\n", STREAMS).replace("<TAB>", "\t"), told


BLOCKS = list(blocks())


def told(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(folder)
    Path("acme.yaml").write_text(text)
    try:
        lines = [str(mistake) for mistake in check("acme.yaml")]
    except ConnectorError as error:
        lines = error.lines
    assert all(line.startswith("acme.yaml:") for line in lines)
    return [line.removeprefix("acme.yaml:") for line in lines]


@pytest.mark.parametrize(("text", "lines"), BLOCKS, ids=[lines[0][:60] for _, lines in BLOCKS])
def test_a_mistake_is_told_in_its_exact_line(
    text: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(text, tmp_path, monkeypatch) == lines


def test_there_are_many_kinds_of_mistakes() -> None:
    assert len(BLOCKS) >= 100


def test_a_right_file_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(HEAD, tmp_path, monkeypatch) == []


MANY = """\
nme: acme
settings:
  region: {default: mars, enum: [eu, us]}
base_url: "https://{regon}.acme.example"
defaults:
  primery_key: [id]
  pagination: {type: cursor, next: $.next, sned: param:cursor}
budgets:
  all: {limits: [{requests: many, per: 1s}, {requests: 5}]}
streams:
  order-lines:
    path: /orders/{orderid}/lines
    parents: [{stream: order, values: {order_id: $.id}}]
  orders:
    path: /orders
    incremental: {kee: updated_at, lag: soon}
    params: {region: "{region}"}
"""

MANY_LINES = [
    '1: unknown key "nme"; did you mean "name"?',
    "3: settings.region.default: the default is none of eu, us; use one of them",
    '4: base_url: "https://{regon}.acme.example" has the unknown placeholder {regon};'
    ' did you mean "region"?',
    '6: defaults: unknown key "primery_key"; did you mean "primary_key"?',
    '7: defaults.pagination: unknown key "sned"; did you mean "send"?',
    '9: budgets.all.limits[0].requests: "many" is not a whole number',
    "9: budgets.all.limits[1]: requests and per go together, as in {requests: 100, per: 1s}",
    '11: streams.order-lines: "order-lines" cannot be the name of a table: only letters, digits'
    " and _ are safe; name it order_lines",
    '12: streams.order-lines.path: "/orders/{orderid}/lines" has the unknown placeholder {orderid};'
    ' did you mean "order_id"?',
    '13: streams.order-lines.parents[0].stream: there is no stream "order"; did you mean "orders"?',
    "16: streams.orders.incremental.lag: 'soon' is not a duration; write a number and ms, s, m, h"
    " or d, as in 30s",
    '16: streams.orders.incremental: unknown key "kee"; did you mean "key"?',
]


def test_all_mistakes_are_told_at_once_in_line_order_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(MANY, tmp_path, monkeypatch) == MANY_LINES


def test_a_run_tells_the_same_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = told(MANY, tmp_path, monkeypatch)
    with pytest.raises(ConnectorError) as caught:
        load("acme.yaml", {}, {})
    assert caught.value.lines == [f"acme.yaml:{line}" for line in expected]


UNSET = """\
settings:
  host: {}
  key: {secret: true}
  size: {type: integer}
  order: {}
  accounts: {type: array}
  extra: {required: false}
  fields: {type: object}
  how: {enum: [token, none]}
base_url: "https://{host}/v1"
auth: {type: select, by: how, of: {token: {type: bearer, token: "{key}"}, none: {type: none}}}
streams:
  orders:
    path: "/{account}/orders"
    primary_key: [id]
    for_each: {setting: accounts, as: account}
    params: {extra: "{extra}"}
    body: {json: "{fields}"}
    incremental: {key: updated_at, order: "{order}", filter: client}
    pagination: {type: offset, size: {send: param:limit, value: "{size}"}}
"""


def test_settings_that_nobody_has_given_are_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(UNSET, tmp_path, monkeypatch) == []
    assert list(outline("acme.yaml").streams) == ["orders"]


def test_branches_that_are_not_taken_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = UNSET.replace("how: {enum: [token, none]}", "how: {default: none}").replace(
        "{type: bearer, token:", "{type: bearer, tokn:"
    )
    assert told(text, tmp_path, monkeypatch) == [
        '11: auth.of.token: unknown key "tokn"; did you mean "token"?'
    ]


def test_an_aliased_part_is_told_where_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEAD + "    responses: &r\n      - {status: 404, thn: skip}\n  b:\n    path: /b\n"
    text += "    primary_key: [id]\n    pagination: {type: single}\n    responses: *r\n"
    lines = told(text, tmp_path, monkeypatch)
    assert [line.split(":")[0] for line in lines] == ["8", "8"]


def test_a_missing_file_is_no_connector_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file or directory; give the path"):
        check(tmp_path / "acme.yaml")


def test_bombs_of_aliases_and_deep_nests_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)]
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(levels)
    assert "aliases make the file too large" in told(bomb, tmp_path, monkeypatch)[0]
    assert "nested deeper" in told("a: " + "[" * 200 + "]" * 200, tmp_path, monkeypatch)[0]
    assert "contains itself" in told("a: &a [*a]\n", tmp_path, monkeypatch)[0]


EVERYTHING = read(Path(__file__).parent / "examples" / "everything.yaml").value
ODD: list[Any] = [None, True, 0, -1, 1.5, "", "x", "{x}", "{", "$.[", "5m", "orders", "status"]
ODD += [[], [None], ["x"], [[]], {}, {"x": None}, {"type": "oauth2"}, {"type": "x"}, {"file": 5}]


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield where
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*where, key))


PLACES = [where for where in places(EVERYTHING) if where]


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), max_size=4))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
def test_no_file_is_more_than_its_mistakes(tmp_path: Path, changes: Any) -> None:
    value = copy.deepcopy(EVERYTHING)
    for where, odd in changes:
        with contextlib.suppress(KeyError, IndexError, TypeError):
            holder = functools.reduce(lambda inner, key: inner[key], where[:-1], value)
            holder[where[-1]] = odd
    path = tmp_path / "acme.yaml"
    path.write_text(json.dumps(value))
    for mistake in check(path):
        assert "\n" not in str(mistake)
    with contextlib.suppress(ConnectorError, ConfigError):
        load(path, {"api_key": "k"}, {})
