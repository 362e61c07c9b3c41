"""Types of events and their patterns, ids of requests."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.incoming import SignedRequest
from tap_saas.connector.load import load, outline
from tap_saas.connector.routes import TypePattern
from tap_saas.connector.webhook import WebhookSource

PATTERNS = st.text("ab*", min_size=1, max_size=5)
TEXTS = ["".join(letters) for n in range(7) for letters in itertools.product("ab", repeat=n)]


@given(PATTERNS, PATTERNS)
def test_patterns_meet_where_one_text_fits_both(one: str, other: str) -> None:
    first, second = TypePattern.parse(one), TypePattern.parse(other)
    both = any(first.fits(text) and second.fits(text) for text in TEXTS)
    assert first.meets(second) == second.meets(first)
    assert both <= first.meets(second)
    if len(one.replace("*", "")) + len(other.replace("*", "")) <= 6:
        assert first.meets(second) == both


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("order.*", ["order.created", "order."], ["orders.created", "xorder.a"]),
        ("*", ["", "a\nb"], []),
        ("a.b", ["a.b"], ["axb", "a.b.c"]),
        ("*.deleted", ["order.line.deleted"], ["deleted"]),
    ],
)
def test_a_pattern(pattern: str, fits: list[str], not_: list[str]) -> None:
    assert [text for text in fits + not_ if TypePattern.parse(pattern).fits(text)] == fits


HOOKS = """\
base_url: https://api.example
settings: {api_key: {secret: true}, hook_key: {secret: true}, other: {}}
auth: {type: bearer, token: "{api_key}"}
budgets: {all: {limits: [{concurrent: 5}]}}
streams:
  orders: {path: /orders, primary_key: [id], version: observed, pagination: {type: single}}
webhooks:
  main:
    signature: {type: hmac, header: X-Sign, secrets: ["{hook_key}"]}
    time: $.at
    routes: [{stream: orders, fetch: FETCH}]
"""
FETCH = """{path: "/{id}", values: {id: $.id}, params: {a: "{other}"},
      budgets: {own: {limits: [{concurrent: 1}]}}}"""


def hooks(folder: Path, **more: Any) -> Path:
    path = folder / "acme.yaml"
    extra = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in more.items())
    path.write_text(HOOKS.replace("FETCH", FETCH) + extra)
    return path


def source(folder: Path, **more: Any) -> WebhookSource:
    return outline(hooks(folder, **more)).webhooks["main"]


def request(body: Any, **headers: str) -> SignedRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return SignedRequest(method="POST", url="/webhooks/acme/main", headers=headers, body=raw)


def test_an_id_is_where_the_connector_says(tmp_path: Path) -> None:
    assert source(tmp_path).event_id(request({"id": 5})) is None
    one = source(tmp_path, id="$.id")
    assert one.event_id(request({"id": 5})) == "5"
    assert one.event_id(request({"id": {}})) is None
    assert one.event_id(request(b"<x>")) is None
    several = source(tmp_path, id=["header:X-Sub", "$.id"])
    assert several.event_id(request({"id": 5}, **{"x-sub": "a"})) == "a\n5"
    assert several.event_id(request({"id": 5})) is None


def test_a_hash_is_of_the_body_and_the_time_and_of_nothing_without_a_time(tmp_path: Path) -> None:
    one = source(tmp_path, id="hash")
    first = one.event_id(request({"at": "2025-01-01", "a": 1}))
    assert first == one.event_id(request({"at": "2025-01-01", "a": 1}, other="header"))
    assert first != one.event_id(request({"at": "2025-01-01", "a": 2}))
    assert one.event_id(request({"a": 1})) is None
    many = source(tmp_path, id="hash", split="$.all")
    assert many.event_id(request({"all": [{"at": 1}, {"at": 2}]})) is not None
    assert many.event_id(request({"all": [{"at": 1}, {}]})) is None
    assert many.event_id(request({"at": 1})) is None


def test_a_run_needs_no_secret_of_the_receiver(tmp_path: Path) -> None:
    loaded = load(hooks(tmp_path), {"api_key": "k", "other": "o"}, {})
    assert set(loaded.values) == {"api_key", "other"}


def test_the_request_of_a_route_has_what_the_file_says_for_all(tmp_path: Path) -> None:
    connector = outline(hooks(tmp_path))
    fetch = connector.webhooks["main"].routes[0].fetch
    assert fetch is not None
    assert fetch.auth == connector.auth
    assert str(fetch.base_url) == "https://api.example"
    assert list(fetch.budgets) == ["all", "webhooks.main.routes.0.own"]
    assert connector.budgets.keys() == {"all", "webhooks.main.routes.0.own"}


DELETES = """\
base_url: https://api.example
params: {everywhere: 1}
streams:
  orders:
    path: /orders
    base_url: https://orders.example
    params: {state: open}
    primary_key: [id]
    records: $.data
    budgets: {mine: {limits: [{concurrent: 1}]}}
    pagination: {type: page, size: {send: param:limit, value: 10}}
    deletes:
      list: {path: /gone, budgets: {own: {limits: [{concurrent: 1}]}}}
      sweep: {every: 7d}
"""


def test_the_list_of_what_is_gone_is_asked_for_as_the_stream_is(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(DELETES)
    connector = outline(path)
    stream = connector.streams["orders"]
    assert stream.deletes is not None
    gone = stream.deletes.list_
    assert gone is not None
    assert gone.build({}).url == "https://orders.example/gone"
    assert gone.build({}).params == ()
    assert (gone.records, gone.pagination) == (stream.records, stream.pagination)
    assert list(gone.budgets) == ["orders.mine", "orders.deletes.own"]
    assert connector.budgets.keys() == {"orders.mine", "orders.deletes.own"}
    assert stream.deletes.sweep is not None
    assert (stream.deletes.sweep.max, stream.deletes.sweep.allow) == (0.05, 0)
