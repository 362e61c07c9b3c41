"""Subscriptions at a real API: made once, renewed in time, removed; nothing is lost in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from sandbox_api import KEY, Sandbox, sandbox

from tap_saas.client.client import Client
from tap_saas.client.subscriptions import Kept, Subscriber
from tap_saas.connector.load import load
from tap_saas.errors import ApiError, StateError
from tap_saas.redact import Redactor
from tap_saas.report import Report

YAML = """
name: shop
settings: {url: {}, key: {secret: true}}
base_url: "{url}"
auth: {type: bearer, token: "{key}"}
streams:
  orders:
    {path: /orders, records: $.data, primary_key: [id], version: updated_at,
     pagination: {type: single}}
webhooks:
  main:
    signature: {type: none}
    type: $.type
    routes: [{types: ["order.*"], stream: orders, record: $.data}]
    subscribe:
      create:
        path: /webhooks
        method: POST
        body: {json: {url: "{callback}", expires_in_s: 86400}}
      id: $.id
      lives: 1d
      RENEW
      delete: {path: "/webhooks/{id}", method: DELETE}
"""
RENEW = 'renew: {path: "/webhooks/{id}/renew", method: POST, body: {json: {expires_in_s: 86400}}}'
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox() as running:
        yield running


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=[RENEW, ""], ids=["renew", "no renew"])
def subscriber(
    request: pytest.FixtureRequest, box: Sandbox, tmp_path: Path
) -> Iterator[tuple[Subscriber, Clock]]:
    path = tmp_path / "shop.yaml"
    path.write_text(YAML.replace("RENEW", request.param))
    loaded = load(str(path), {"url": box.url, "key": KEY})
    clock, rules = Clock(), loaded.connector.webhooks["main"].subscribe
    assert rules is not None
    with Client(
        loaded.connector, loaded.values, home=tmp_path, stop=threading.Event(),
        report=Report("r"), redactor=Redactor(loaded.secrets),
    ) as client:  # fmt: skip
        made = Subscriber(client, "shop/main", rules, loaded.values, Kept(tmp_path), clock)
        yield made, clock
        made.remove()


def at_the_provider(box: Sandbox) -> list[str]:
    return [one["url"] for one in box.tell("GET", "/_webhooks")["subscriptions"]]


def test_it_is_made_once_renewed_before_its_end_and_removed(
    box: Sandbox, subscriber: tuple[Subscriber, Clock]
) -> None:
    of, clock = subscriber
    assert of.ensure("http://127.0.0.1:9/a") == "made"
    assert of.ensure("http://127.0.0.1:9/a") == "kept"
    clock.now += timedelta(hours=17)
    assert of.ensure("http://127.0.0.1:9/a") == "kept"
    clock.now += timedelta(hours=2)
    assert of.ensure("http://127.0.0.1:9/a") == "renewed"
    known = of.known
    assert known is not None
    assert known.expires == clock.now + timedelta(days=1)
    assert of.ensure("http://127.0.0.1:9/a") == "kept"
    assert at_the_provider(box) == ["http://127.0.0.1:9/a"]
    assert of.remove() == "removed"
    assert of.remove() == "not there"
    assert at_the_provider(box) == []


def test_another_address_replaces_it(box: Sandbox, subscriber: tuple[Subscriber, Clock]) -> None:
    of, _ = subscriber
    of.ensure("http://127.0.0.1:9/a")
    assert of.ensure("http://127.0.0.1:9/b") == "made"
    assert at_the_provider(box) == ["http://127.0.0.1:9/b"]


def test_what_the_provider_has_removed_itself_can_be_removed(
    box: Sandbox, subscriber: tuple[Subscriber, Clock]
) -> None:
    of, _ = subscriber
    of.ensure("http://127.0.0.1:9/a")
    known = of.known
    assert known is not None
    requests.delete(
        f"{box.url}/webhooks/{known.id}", headers={"Authorization": f"Bearer {KEY}"}, timeout=9
    ).raise_for_status()
    assert of.remove() == "removed"


class Expecting:
    """Notes for which requests a secret is expected, and whether it was in vain."""

    def __init__(self) -> None:
        self.has_come = True
        self.ends: list[type[BaseException] | None] = []

    def __enter__(self) -> Callable[[], bool]:
        return lambda: self.has_come

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.ends.append(kind)


def test_a_secret_is_expected_of_each_request_that_may_bring_one(
    box: Sandbox, subscriber: tuple[Subscriber, Clock]
) -> None:
    of, clock = subscriber
    expecting = Expecting()
    of._expecting = lambda: expecting
    of.ensure("http://127.0.0.1:9/a")
    of.ensure("http://127.0.0.1:9/a")
    assert expecting.ends == [None]
    clock.now += timedelta(hours=19)
    assert of.ensure("http://127.0.0.1:9/a") == "renewed"
    assert of.ensure("http://127.0.0.1:9/a", anew=True) == "made"
    assert expecting.ends == [None] * 3
    of.remove()
    expecting.has_come = False
    with pytest.raises(ApiError, match="no secret came with it; let the receiver run"):
        of.ensure("http://127.0.0.1:9/a")
    assert expecting.ends == [None, None, None, ApiError]
    assert (of.known, at_the_provider(box)) == (None, [])


def test_an_answer_without_an_id_is_one_line(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(YAML.replace("RENEW", "").replace("id: $.id", "id: $.nothing"))
    loaded = load(str(path), {"url": box.url, "key": KEY})
    rules = loaded.connector.webhooks["main"].subscribe
    assert rules is not None
    with Client(
        loaded.connector, loaded.values, home=tmp_path, stop=threading.Event(),
        report=Report("r"), redactor=Redactor(loaded.secrets),
    ) as client:  # fmt: skip
        made = Subscriber(client, "shop/main", rules, loaded.values, Kept(tmp_path), Clock())
        with pytest.raises(ApiError, match=r"the answer names no subscription at \$.nothing"):
            made.ensure("http://127.0.0.1:9/a")
        assert made.known is None


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.json").write_text("{")
    with pytest.raises(StateError, match="cannot be read"):
        Kept(tmp_path).all()
