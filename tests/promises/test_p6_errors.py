"""P6: whatever is wrong, one clear line says what and what to do; no trace, no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Pipeline
from sandbox_api import OAUTH, OAUTH_SECRET, ORDERS, Answer, Sandbox, connector, serve

CONFIG, CONNECTOR, CREDENTIAL, API, STATE = 2, 3, 4, 5, 7
QUICK = "retry: {attempts: 3, first: 10ms, max: 20ms}\n"
WRONG = "wrong-secret-7f3a"
Arrange = Callable[[Pipeline], object]


@pytest.fixture
def shop(folder: Path, box: Sandbox) -> Pipeline:
    """A pipeline with which nothing is wrong."""
    return Pipeline(folder, box.url, connector(ORDERS, more=QUICK))


def _config(text: str) -> Arrange:
    return lambda shop: shop.config.write_text(text)


def _edited(old: str, new: str) -> Arrange:
    def arrange(shop: Pipeline) -> None:
        text = shop.yaml.read_text()
        assert old in text
        shop.yaml.write_text(text.replace(old, new))

    return arrange


def _state(text: str) -> Arrange:
    return lambda shop: shop.state.write_text(text)


def _bookmark(**members: Any) -> Arrange:
    return _state(json.dumps({"bookmarks": {"orders": members}}))


CONFIGS: dict[str, tuple[Arrange, int, list[str]]] = {
    "no file": (lambda shop: shop.config.unlink(), CONFIG, ["tap.json: ", "cannot be read"]),
    "empty": (_config(" \n"), CONFIG, ["tap.json: the config file is empty; "]),
    "not JSON": (_config('{"connector": '), CONFIG, ["tap.json: the config file is not JSON"]),
    "a list": (_config("[]"), CONFIG, ["tap.json: the config file is not a JSON object"]),
    "no connector": (_config("{}"), CONFIG, ["config: connector is missing; name a connector"]),
    "unknown connector": (
        _config('{"connector": "shopp"}'),
        CONFIG,
        ['there is no bundled connector "shopp"; use one of sandbox'],
    ),
    "no connector file": (
        _config('{"connector": "./none.yaml"}'),
        CONFIG,
        ["none.yaml: no such file"],
    ),
    "unknown key": (
        lambda shop: shop.configure(max_request=5),
        CONFIG,
        ['config: unknown key "max_request"; did you mean "max_requests"?'],
    ),
    "wrong type": (
        lambda shop: shop.configure(max_requests="many"),
        CONFIG,
        ["config: max_requests: 'many' is not of type 'integer'"],
    ),
    "wrong type of the SDK's own": (
        lambda shop: shop.configure(flattening_enabled=True, flattening_max_depth={"a": 1}),
        CONFIG,
        ["config: flattening_max_depth: {'a': 1} is not of type 'integer'"],
    ),
    "wrong duration": (
        lambda shop: shop.configure(max_duration="soon"),
        CONFIG,
        ["config: max_duration: ", "soon"],
    ),
    "missing setting": (
        lambda shop: shop.configure(settings={}),
        CONFIG,
        ["the setting url is missing; set settings.url"],
    ),
    "missing secret": (
        lambda shop: shop.environment.pop("SHOP_KEY"),
        CONFIG,
        ["the setting key is missing; set ", "SHOP_KEY"],
    ),
    "unknown setting": (
        lambda shop: shop.configure(settings={"url": "http://127.0.0.1:1", "ulr": "x"}),
        CONFIG,
        ["ulr", "url"],
    ),
    "misspelt YAML key": (
        _edited("path:", "pth:"),
        CONNECTOR,
        ['shop.yaml:16: streams.orders: unknown key "pth"; did you mean "path"?'],
    ),
    "not YAML": (_edited("streams:", "streams: ["), CONNECTOR, ["shop.yaml:", ": not YAML: "]),
    "no pagination": (
        _edited("  pagination:", "  params:"),
        CONNECTOR,
        ["streams.orders", "pagination"],
    ),
    "unknown option": (lambda shop: None, CONFIG, ["No such option '--stat'"]),
}
STATES: dict[str, tuple[Arrange, list[str]]] = {
    "empty": (_state("\n"), ["state.json: the state is empty; "]),
    "broken": (_state('{"bookmarks": {"ord'), ["state.json: the state is not JSON"]),
    "a list": (_state("[]"), ["state.json: the state is not a JSON object"]),
    "a message": (_state('{"type": "STATE", "value": {}}'), ["the state has no bookmarks"]),
    "bookmarks are a list": (_state('{"bookmarks": []}'), ["the state has no bookmarks"]),
    "a bookmark is a text": (
        _state('{"bookmarks": {"orders": "x"}}'),
        ["orders: its bookmark in the state cannot be read (Expected `object`, got `str`)"],
    ),
    "resume is an object": (_bookmark(resume={}), ["orders: ", "Expected `array`", "$.resume"]),
    "a walk without its start": (_bookmark(resume=[{}]), ["orders: ", "started_at", "$.resume[0]"]),
    "partitions are an object": (_bookmark(partitions={}), ["orders: ", "$.partitions"]),
    "a watermark of another kind": (
        _bookmark(replication_key="updated_at", replication_key_value="yesterday"),
        ["orders: the watermark 'yesterday' is not an instant"],
    ),
}
INCREMENTAL = "    incremental: {key: updated_at, start: {send: param:updated_after}}\n"


@pytest.mark.parametrize("case", CONFIGS)
def test_a_wrong_config_or_connector(case: str, shop: Pipeline, box: Sandbox) -> None:
    arrange, code, words = CONFIGS[case]
    arrange(shop)
    done = shop.tap(*(["--stat", "x"] if case == "unknown option" else []))
    done.assert_one_line(code, *words)
    assert done.out == b""
    assert box.arrivals("/orders") == []


@pytest.mark.parametrize("case", STATES)
def test_a_wrong_state_is_never_an_empty_one(case: str, shop: Pipeline, box: Sandbox) -> None:
    arrange, words = STATES[case]
    shop.yaml.write_text(shop.yaml.read_text() + INCREMENTAL)
    arrange(shop)
    done = shop.tap()
    done.assert_one_line(STATE, *words)
    assert not done.records("orders")
    assert box.arrivals("/orders") == []


def test_a_state_file_that_is_not_there(shop: Pipeline) -> None:
    done = shop.tap("--state", str(shop.folder / "none.json"))
    done.assert_one_line(CONFIG, "--state", "none.json", "No such file")


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_wrong_client_secret(level: str, folder: Path, box: Sandbox) -> None:
    text = connector(ORDERS, more=QUICK, auth=OAUTH)
    shop = Pipeline(folder, box.url, text, secret=WRONG)
    done = shop.tap(TAP_SAAS_LOGLEVEL=level)
    done.assert_one_line(
        CREDENTIAL, "orders: no access token: invalid_client: wrong client or secret (request req_"
    )


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_wrong_key_in_the_address(level: str, folder: Path, box: Sandbox) -> None:
    auth = 'auth: {type: key, send: "param:api_key", value: "{key}"}\n'
    text = connector(ORDERS, more=QUICK, auth=auth)
    shop = Pipeline(folder, box.url, text, secret=WRONG)
    done = shop.tap(TAP_SAAS_LOGLEVEL=level)
    done.assert_one_line(
        CREDENTIAL, "orders: page 1: 401 Unauthorized", "request req_", "check the setting key"
    )


def test_a_token_that_may_not_read_a_stream(folder: Path, box: Sandbox) -> None:
    auth = OAUTH.replace("  client:", "  scope: customers\n  client:")
    shop = Pipeline(folder, box.url, connector(ORDERS, more=QUICK, auth=auth), secret=OAUTH_SECRET)
    done = shop.tap(TAP_SAAS_LOGLEVEL="DEBUG")
    done.assert_one_line(
        CREDENTIAL,
        "orders: page 1: 403 Forbidden: the token may not read orders (request req_",
        "what it may read",
    )


ANSWERS: dict[str, tuple[Callable[[str], Answer], int, list[str]]] = {
    "HTML for ever": (
        lambda _: Answer(b"<!doctype html><h1>Please wait</h1>", content_type="text/html"),
        API,
        ["orders: page 1: ", "HTML page", "given up after 3 tries in "],
    ),
    "JSON that breaks off for ever": (
        lambda _: Answer(b'{"data": [{"id": 1}, {"id"'),
        API,
        ["orders: page 1: 200 OK, broken body: the body is not JSON", "given up after 3 tries in "],
    ),
    "no records there": (
        lambda _: Answer(b'{"items": [], "meta": {}}'),
        API,
        ["orders: page 1: no list at $.data; the body has: items, meta; check records"],
    ),
    "records are texts": (
        lambda _: Answer(b'{"data": ["a"]}'),
        API,
        ["orders: page 1: record 1 at $.data is a text, not an object"],
    ),
    "the same token for ever": (
        lambda path: Answer(
            b'{"data": [{"id": %d, "updated_at": "2025-01-01T00:00:00Z"}], "next_cursor": "again",'
            b' "has_more": true}' % hash(path)
        ),
        API,
        ["orders: page ", "the page token 'again' comes again: the list never ends"],
    ),
    "no such path": (
        lambda _: Answer(b'{"message": "no such list"}', 404),
        API,
        ["orders: page 1: 404 Not Found: no such list"],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_api_that_answers_wrongly(case: str, folder: Path) -> None:
    answer, code, words = ANSWERS[case]
    with serve(answer) as url:
        shop = Pipeline(folder, url, connector(ORDERS, more=QUICK))
        shop.tap().assert_one_line(code, *words)


def test_a_connection_that_is_refused(folder: Path) -> None:
    with serve(lambda _: Answer(b"{}")) as url:
        gone = url
    shop = Pipeline(folder, gone, connector(ORDERS, more=QUICK))
    done = shop.tap()
    done.assert_one_line(
        API, "orders: page 1: connection failed: Connection refused, given up after 3 tries"
    )
    assert len([line for line in done.warnings if "try " in line]) == 2


def test_a_failing_stream_does_not_stop_the_others(
    folder: Path, box: Sandbox, database: str
) -> None:
    streams = """\
  a_gone:
    path: /nothing/here
  customers:
    path: /customers
    version: updated_at
  odd:
    path: /oddities
    records: $.items
"""
    shop = Pipeline(folder, box.url, connector(streams + ORDERS, more=QUICK), database=database)
    done = shop.run()
    assert done.target.code == 0, done.target.told
    done.tap.assert_one_line(API, "a_gone: page 1: 404 Not Found")
    errors = [line for line in done.tap.told.splitlines() if " ERROR " in line]
    assert len(errors) == 2
    assert "odd: page 1: no list at $.items" in errors[1]
    shop.assert_exact(box, "customers", "orders")
    exits = dict(shop.query("SELECT stream, exit FROM shop._runs"))
    assert exits == {"a_gone": API, "customers": 0, "odd": API, "orders": 0}
    assert shop.bookmark("customers")["last_success_ts"]
    assert not shop.bookmark("odd")["last_success_ts"]
    # The sample for the schema has failed already: the same is not asked for a second time.
    assert len(box.arrivals("/oddities")) == 1


def test_no_secret_leaves_a_run_that_logs_everything(folder: Path, box: Sandbox) -> None:
    box.fault("/orders", "500", every=2)
    shop = Pipeline(
        folder,
        box.url,
        connector(
            ORDERS, more=QUICK, auth='auth: {type: key, send: "param:api_key", value: "{key}"}\n'
        ),
    )
    done = shop.tap(TAP_SAAS_LOGLEVEL="DEBUG")
    assert done.code == 0, done.told
    done.assert_no_secret()
    assert re.search("GET .*/orders stream=orders page=2 .*status=500", done.told)
    kept = [path.read_bytes() for path in (folder / "home").rglob("*") if path.is_file()]
    assert not any(b"sandbox-key" in content for content in kept)
