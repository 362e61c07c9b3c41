"""`saasctl guess` on lists that it has not seen: accepted, exact through the tap, incremental."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import lookalikes as apis
import pytest
from commands import saasctl
from harness import BIN, finish, start
from lookalikes import World
from ruamel.yaml import YAML
from sandbox_api import KEY, Sandbox, sandbox
from singer_output import Done
from small_apis import Asked, Handler, RefusalError, Reply, serve

from tap_saas.authoring import address, draft
from tap_saas.authoring.guess import guess
from tap_saas.connector.check import check

ENV = {"ACME_KEY": "contacts-key-1"}


class Case(NamedTuple):
    """A list and what must be found: `by` is the date that later runs filter by."""

    api: Callable[[World], Handler]
    path: str
    number: Callable[[dict[str, Any]], int]
    finds: dict[str, Any]
    by: str | None = None
    given: Mapping[str, Any] = MappingProxyType({})


def _id(record: dict[str, Any]) -> int:
    return int(record["id"])


def _digits(name: str, base: int = 0) -> Callable[[dict[str, Any]], int]:
    return lambda record: int("".join(c for c in record[name] if c.isdigit())) - base


CASES = {
    "charges": Case(
        apis.payments, "/v1/charges", _digits("id"),
        {"type": "seek", "send": "param:starting_after", "more": "$.has_more",
         "size": {"send": "param:limit", "value": 100}},
        by="created", given={"basic": "{ACME_KEY}:"},
    ),
    "issues": Case(
        apis.issues, "/repos/acme/site/issues", lambda record: int(record["number"]),
        {"type": "link_header", "size": {"send": "param:per_page", "value": 100}},
        by="updated", given={"bearer": "ACME_KEY"},
    ),
    "contacts": Case(
        apis.contacts, "/crm/v3/objects/contacts", _id,
        {"type": "next_url", "size": {"send": "param:limit", "value": 100}},
        given={"headers": ["X-Api-Key={ACME_KEY}"]},
    ),
    "orders": Case(
        apis.shop_orders, "/admin/api/2024-01/orders.json", lambda record: record["id"] - 450000,
        {"type": "link_header"}, by="updated",
    ),
    "tickets": Case(
        apis.tickets, "/api/v2/incremental/tickets/cursor.json?start_time=0", _id,
        {"type": "next_url", "more": "$.end_of_stream == false"}, by="updated",
    ),
    "users": Case(
        apis.users, "/api/v2/users", _id,
        {"type": "next_url", "more": "$.meta.has_more",
         "size": {"send": "param:page[size]", "value": 100}},
    ),
    "books": Case(
        apis.books, "/books", _digits("isbn", 978000000),
        {"type": "page", "first": 0, "total": "$.totalElements"}, by="updated",
    ),
    "readings": Case(
        apis.readings, "/readings", lambda record: int(record["reading_id"]),
        {"type": "cursor", "next": "$.next_offset", "send": "param:offset"},
    ),
    "machines": Case(
        apis.machines, "/machines", _digits("id"), {"type": "cursor", "send": "param:cursor"}
    ),
    "accounts": Case(
        apis.accounts, "/accounts", lambda record: int(record["accountid"][-6:]),
        {"type": "next_url", "next": "$['@odata.nextLink']"},
    ),
    "files": Case(
        apis.files, "/files", _digits("id"),
        {"type": "cursor", "send": "param:pageToken",
         "size": {"send": "param:maxResults", "value": 100}}, by="updated",
    ),
    "articles": Case(
        apis.articles, "/articles", _id,
        {"type": "next_url", "size": {"send": "param:page[size]", "value": 60}}, by="updated",
    ),
    "messages": Case(
        apis.messages, "/messages", _digits("text"),
        {"type": "cursor", "next": "$.response_metadata.next_cursor"}, by="created",
    ),
    "countries": Case(apis.countries, "/countries", _digits("code"), {"type": "single"}),
    "visits": Case(
        apis.visits, "/visits", lambda record: record["visitor"] * 5 + record["shop"],
        {"type": "page"},
    ),
    "deals": Case(
        apis.deals, "/v1/deals", _id, {"type": "cursor", "send": "param:start"}, by="updated",
    ),
}  # fmt: skip


class Served(NamedTuple):
    """All lists behind one address, their worlds, and what was guessed of each."""

    url: str
    worlds: dict[str, World]
    texts: dict[str, str]
    requests: dict[str, int]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    worlds = {name: World() for name in CASES}
    handlers = {case.path.partition("?")[0]: case.api(worlds[name]) for name, case in CASES.items()}
    with serve(lambda asked: handlers[asked.path](asked)) as url:
        texts, requests = {}, {}
        for name, case in CASES.items():
            found = guess(address.read(url + case.path, env=ENV, **case.given), 15, lambda _: None)
            texts[name], requests[name] = draft.connector(found), found.requests
        yield Served(url, worlds, texts, requests)


def _yaml(text: str) -> dict[str, Any]:
    known: dict[str, Any] = YAML(typ="safe").load(text)
    return known


@pytest.mark.parametrize("name", CASES)
def test_a_guess_is_a_connector_without_mistakes(name: str, served: Served, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.yaml"
    file.write_text(served.texts[name])
    assert [str(mistake) for mistake in check(file) if mistake.level == "error"] == []
    assert served.requests[name] <= 15
    assert "contacts-key-1" not in served.texts[name]


@pytest.mark.parametrize("name", CASES)
def test_a_guess_says_how_the_list_is_walked_and_filtered(name: str, served: Served) -> None:
    stream = _yaml(served.texts[name])["streams"][name]
    wanted = CASES[name].finds
    assert {key: stream["pagination"].get(key) for key in wanted} == wanted
    assert ("incremental" in stream) == (CASES[name].by is not None), stream


def _merged(served: Served) -> dict[str, Any]:
    """All guesses in one connector, so that one run of the tap pulls them all."""
    streams, settings = {}, {}
    for name, text in served.texts.items():
        known = _yaml(text)
        own = {key: known[key] for key in ("base_url", "auth", "budgets") if key in known}
        streams[name] = {**known["streams"][name], **own}
        settings |= known.get("settings", {})
    return {"name": "all", "settings": settings, "streams": streams}


def _tap(folder: Path, state: dict[str, Any] | None = None) -> Done:
    config = {"connector": str(folder / "all.yaml"), "home": str(folder / "home")}
    (folder / "tap.json").write_text(json.dumps(config))
    (folder / "state.json").write_text(json.dumps(state or {}))
    command = [BIN / "tap-saas", "--config", folder / "tap.json", "--state", folder / "state.json"]
    done = finish(start(command, {**os.environ, **ENV}))
    assert done.code == 0, done.told[-3_000:]
    done.assert_singer()
    return done


def test_the_tap_pulls_each_list_whole_and_then_what_changed(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "all.yaml").write_text(json.dumps(_merged(served)))
    first = _tap(tmp_path)
    for name, case in CASES.items():
        numbers = sorted(case.number(record) for record in first.records(name))
        assert numbers == list(range(1, 138)), name
    changed = {name: world.touch() for name, world in served.worlds.items()}
    second = _tap(tmp_path, first.last_state)
    for name, case in CASES.items():
        numbers = {case.number(record) for record in second.records(name)}
        if case.by is None:
            assert numbers == set(range(1, 139)), name
            continue
        assert numbers >= (changed[name] if case.by == "updated" else {138}), name
        assert len(numbers) <= len(changed[name]) + 2, name


def test_what_is_seen_guessed_and_to_be_decided_is_told_apart(served: Served) -> None:
    text = served.texts["charges"]
    assert "# SEEN: created[gte] from 2025-01-0" in text
    assert "DECIDE: created does not move when a record changes" in text
    assert "GUESS: no field is unique in 80 records" in served.texts["visits"]
    assert "Other lists: 30 objects at $.included." in served.texts["articles"]
    assert "take: header:X-RateLimit-Reset, as: epoch_s" in served.texts["issues"]
    assert "SEEN: X-Shop-Api-Call-Limit: 1/40" in served.texts["orders"]
    assert "update_time names no zone and is read as UTC" in served.texts["deals"]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox(customers=60, orders=240, events=600) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "kind", "records", "size"),
    [
        ("/orders", "cursor", "$.data", "param:limit"),
        ("/orders?page=1", "page", "$.data", "param:per_page"),
        ("/orders?offset=0", "offset", "$.data", "param:limit"),
        ("/orders?sort=-updated_at", "cursor", "$.data", "param:limit"),
        ("/next/orders", "next_url", "$.items", "param:limit"),
        ("/link/orders", "link_header", "$", "param:limit"),
        ("/customers?limit=30", "cursor", "$.data", "param:limit"),
        ("/customers", "cursor", "$.data", "param:limit"),
        ("/events?sort=id", "cursor", "$.data", "param:limit"),
    ],
)
def test_the_sandbox_is_found(
    path: str, kind: str, records: str, size: str, box: Sandbox, tmp_path: Path
) -> None:
    found = guess(address.read(box.url + path, env={"K": KEY}, bearer="K"), 15, lambda _: None)
    (tmp_path / "all.yaml").write_text(draft.connector(found))
    assert [str(mistake) for mistake in check(tmp_path / "all.yaml")] == []
    known = _yaml((tmp_path / "all.yaml").read_text())
    (stream,) = known["streams"].values()
    assert (stream["pagination"]["type"], stream["records"]) == (kind, records)
    assert stream["pagination"]["size"]["send"] == size
    assert stream["incremental"] == {"key": "updated_at", "start": {"send": "param:updated_after"}}
    assert found.requests <= 15


def test_from_an_address_to_rows(box: Sandbox, tmp_path: Path) -> None:
    """As somebody does it who has an address and a token."""
    began = time.monotonic()
    env = {**os.environ, "ACME_TOKEN": KEY}
    run = [BIN / "saasctl", "guess", f"{box.url}/orders", "--bearer", "ACME_TOKEN"]
    told = subprocess.run(
        [*run, "-o", "acme.yaml"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    (tmp_path / "tap.json").write_text('{"connector": "acme.yaml"}')
    pulled = subprocess.run(
        [BIN / "tap-saas", "--config", "tap.json"],
        cwd=tmp_path, env=env, capture_output=True, check=True,
    )  # fmt: skip
    done = Done(0, pulled.stdout, "")
    assert sorted(done.versions("orders")) == box.truth("orders")
    assert "requests; now try" in told.stderr
    assert KEY not in told.stderr + (tmp_path / "acme.yaml").read_text()
    print(f"from an address to rows: {time.monotonic() - began:.1f} s")


def test_few_requests_give_less_and_say_so(served: Served) -> None:
    at = address.read(f"{served.url}/api/v2/users", env={})
    found = guess(at, 2, lambda _: None)
    assert found.requests == 2
    assert found.walk.form["type"] == "next_url"
    assert "Not tried, no requests were left: a smaller page" in draft.connector(found)
    assert guess(at, 1, lambda _: None).requests == 1


@pytest.mark.parametrize(
    ("reply", "code", "says"),
    [
        (Reply(b"<!DOCTYPE html><title>Docs</title>"), 5, 'an HTML page ("Docs"), not JSON'),
        (Reply(b"id,name\n1,a\n"), 5, "the body is not JSON"),
        (Reply(b""), 5, "the body is empty"),
        (Reply({"data": [], "next": None}), 5, "the list at $.data is empty"),
        (Reply({"id": 1, "name": "one"}), 5, "no list of objects in the answer: it has id, name"),
        (Reply(["a", "b"]), 5, "no list of objects in the answer: it is a list"),
        (Reply({"error": "no"}, 401), 4, "401 Unauthorized: no; give --bearer VARIABLE"),
        (Reply({"error": "no"}, 404), 5, "404 Not Found: no; check the address"),
    ],
)
def test_what_is_no_list_is_one_clear_line(reply: Reply, code: int, says: str) -> None:
    with serve(lambda _: reply) as url:
        done = saasctl("guess", f"{url}/orders")
    assert done.code == code, done.err
    assert says in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    done = saasctl("guess", "http://127.0.0.1:1/orders", "-o", str(file))
    assert (done.code, file.read_text()) == (2, "name: mine\n")
    assert "is there already" in done.err


def test_a_busy_list_is_waited_for() -> None:
    asked: list[Asked] = []
    users = apis.users(World())

    def answer(request: Asked) -> Reply:
        asked.append(request)
        if len(asked) == 2:
            return Reply({"error": "slow down"}, 429, {"Retry-After": "0"})
        if len(asked) == 4:
            raise RefusalError(403, "not this")
        return users(request)

    with serve(answer) as url:
        found = guess(address.read(f"{url}/users", env={}), 15, lambda _: None)
    assert found.walk.form["type"] == "next_url"
    assert found.requests == len(asked)
