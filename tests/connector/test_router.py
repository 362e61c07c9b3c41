"""Events into records: what a route makes of them, and that it makes something of everything."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_saas.connector.decoding import decode
from tap_saas.connector.formats import InstantFormat, read_instant
from tap_saas.connector.identity import coerced
from tap_saas.connector.load import outline
from tap_saas.connector.model import Connector
from tap_saas.connector.router import Routed, RouteError, Router
from tap_saas.connector.routes import Route

FILE = """\
base_url: https://api.example
streams:
  orders:
    path: /orders
    primary_key: [id]
    pagination: {type: single}
    incremental: {key: updated_at, filter: client}
    fields:
      {lift: [$.more.deep], rename: {number: nr}, keep_if: $.hidden != true, parse: {n: epoch_s}}
  charges:
    path: /charges
    primary_key: [id]
    pagination: {type: single}
    incremental: {key: updated, format: epoch_s, start: {send: "param:since"}}
  lines:
    path: /lines
    primary_key: [$.order.id, no]
    version: observed
    pagination: {type: single}
  days:
    path: /days
    primary_key: {hash: [day, code]}
    version: {text: rev}
    pagination: {type: single}
  counted:
    path: /counted
    primary_key: [id]
    pagination: {type: single}
    incremental: {key: n, format: counter, start: {send: "param:n"}}
events:
  log:
    path: /events
    pagination: {type: single}
    id: $.id
    type: $.type
    time: {take: $.created, format: epoch_s}
    routes: &routes
      - {types: ["order.*"], stream: orders, record: $.data, deleted: [order.deleted]}
      - types: ["charge.*"]
        stream: charges
        record: {id: $.key, updated: $.at}
        deleted: ["*.deleted"]
      - types: ["line.*"]
        stream: lines
        fetch: {path: "/lines/{id}/{no}", values: {id: $.data.order.id, no: $.data.no}}
        deleted: [line.deleted]
webhooks:
  same:
    signature: {type: none}
    id: $.id
    type: $.type
    time: {take: $.created, format: epoch_s}
    routes: *routes
  many:
    signature: {type: none}
    split: $.data
    id: [header:x-id, $.id]
    type: [header:x-topic, $.type]
    time: $.created
    routes:
      - {stream: lines, record: $.data}
      - {types: [gone], stream: days, record: {day: $.key, code: $.at, rev: $.no}, deleted: true}
      - {types: [gone], stream: counted, record: $, deleted: true}
      - {types: [ask], stream: orders, fetch: {path: "/o/{nr}", values: {nr: $.key}, gone: []}}
"""
KINDS = {"orders": {"id": "integer", "updated_at": "date-time"}, "lines": {"id": "string"}}
AT = 1_736_000_000
AT_TEXT = "2025-01-04T14:13:20Z"
AT_END = "2025-01-04T14:13:20.999999Z"


@pytest.fixture(scope="module")
def connector(tmp_path_factory: pytest.TempPathFactory) -> Connector:
    return from_text(FILE, tmp_path_factory.mktemp("router"))


def from_text(text: str, folder: Path) -> Connector:
    path = folder / "acme.yaml"
    path.write_text(text)
    return outline(path)


def router(connector: Connector, name: str = "log") -> Router:
    source = connector.events.get(name) or connector.webhooks[name]
    return Router(source, connector.streams, KINDS)


def event(type_: str, **more: Any) -> dict[str, Any]:
    return {"id": "e1", "type": type_, "created": AT, **more}


def only(routed: list[Routed], stream: str) -> Routed:
    (one,) = [one for one in routed if one.stream == stream]
    return one


def failure(router: Router, document: Any, headers: Mapping[str, str] | None = None) -> RouteError:
    with pytest.raises(RouteError) as caught:
        router.route(document, headers)
    return caught.value


NAMES = ["id", "type", "created", "data", "key", "at", "no", "order", "updated_at", "day", "more"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.sampled_from([AT, AT_TEXT, "7", "order.created", "order.deleted", "line.changed", "gone"]),
    st.text(max_size=5),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=3)), inner, max_size=8),
    ),
    max_leaves=12,
)
EVENTS = st.builds(
    lambda document, type_, time: {**document, "type": type_, "created": time},
    st.dictionaries(st.sampled_from(NAMES), DOCUMENTS),
    st.sampled_from(["order.created", "order.deleted", "line.changed", "charge.deleted"]),
    st.one_of(st.just(AT), SCALARS),
)


@given(
    st.sampled_from(["log", "same", "many"]),
    st.one_of(DOCUMENTS, EVENTS),
    st.dictionaries(st.sampled_from(["x-topic", "x-id"]), st.sampled_from(["gone", "ask", ""])),
)
@example("log", event("order.deleted", data={"id": "1", "updated_at": 5}), {})
@example("log", event("x", key="9" * 5000, at=Decimal("1e999999999")), {})
def test_any_document_is_routed_or_refused_and_left_as_it_is(
    connector: Connector, name: str, document: Any, headers: dict[str, str]
) -> None:
    routes = router(connector, name)
    shown = repr(document)
    with contextlib.suppress(RouteError):
        for one in routes.split(document):
            for routed in routes.route(one, headers):
                check(connector, routed)
    assert repr(document) == shown


def test_an_event_that_is_nested_too_deeply_is_refused(connector: Connector) -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = {"a": deep}
    document = {"created": AT_TEXT, "key": deep, "at": 1, "no": "a", "data": {}}
    error = failure(router(connector, "many"), document, {"x-topic": "gone"})
    assert error.kind == "bad_value"


def check(connector: Connector, routed: Routed) -> None:
    stream = connector.streams[routed.stream]
    version = {stream.version_column}
    if routed.action == "upsert":
        assert routed.record is not None
    elif routed.record is not None:
        lacks = {*stream.key_columns, *version} - routed.record.keys()
        assert lacks <= (set() if routed.action == "delete" else version)
        assert None not in routed.record.values()
    else:
        assert routed.action == "fetch"


def test_an_event_brings_a_record_as_the_api_writes_it(connector: Connector) -> None:
    data = {
        "id": "7",
        "number": 5,
        "updated_at": "2025-01-01T00:00:00Z",
        "more": {"deep": {"a": 1}},
    }
    routed = only(router(connector).route(event("order.created", data=data)), "orders")
    assert routed == Routed(
        stream="orders",
        action="upsert",
        record={**data, "id": 7},
        route=0,
        event_id="e1",
        type="order.created",
        time=read_instant(AT_TEXT),
    )


def test_what_one_stream_lifts_is_still_there_for_another(connector: Connector) -> None:
    document = event("order.created", data={"id": 1, "more": {"deep": {"a": 1}}})
    one = only(router(connector).route(document), "orders")
    shape = connector.streams["orders"].shaper({})
    assert shape is not None
    assert one.record is not None
    shape(one.record)
    assert one.record["a"] == 1
    assert document["data"] == {"id": 1, "more": {"deep": {"a": 1}}}


def test_a_deletion_is_the_key_and_the_end_of_its_second(connector: Connector) -> None:
    data = {"id": "7", "updated_at": "2025-01-01T00:00:00Z", "hidden": True, "n": 1}
    routed = only(router(connector).route(event("order.deleted", data=data)), "orders")
    assert routed.action == "delete"
    assert routed.record == {"id": 7, "updated_at": AT_END}


def test_a_deletion_is_no_older_than_the_record_in_it(connector: Connector) -> None:
    data = {"id": 7, "updated_at": "2025-06-01"}
    routed = only(router(connector).route(event("order.deleted", data=data)), "orders")
    assert routed.record == {"id": 7, "updated_at": "2025-06-01T23:59:59.999999Z"}


def test_a_version_in_seconds_stays_a_number_of_seconds(connector: Connector) -> None:
    document = event("charge.deleted", key="c", at=AT - 5)
    assert only(router(connector).route(document), "charges").record == {"id": "c", "updated": AT}
    kinds = {"charges": {"updated": "date-time"}}
    told = Router(connector.events["log"], connector.streams, kinds).route(document)
    assert only(told, "charges").record == {"id": "c", "updated": AT_END}


def test_a_record_to_ask_for_has_its_values_and_its_tombstone(connector: Connector) -> None:
    document = event("line.changed", data={"order": {"id": 5}, "no": 2})
    routed = only(router(connector).route(document), "lines")
    assert routed.action == "fetch"
    assert routed.values == {"id": "5", "no": 2}
    assert routed.record == {"id": "5", "no": 2, "_observed_at": AT_END}
    later = read_instant("2025-02-01T08:00:00Z")
    gone = router(connector).gone(routed.route, routed.record, later)
    assert gone == {"id": "5", "no": 2, "_observed_at": "2025-02-01T08:00:00.999999Z"}
    assert router(connector).gone(routed.route, gone, read_instant(AT_TEXT)) == gone
    document["type"] = "line.deleted"
    deleted = only(router(connector).route(document), "lines")
    assert deleted.action == "delete"
    assert deleted.record == {"id": "5", "no": 2, "_observed_at": AT_END}


def test_an_observed_version_is_the_time_of_the_event(connector: Connector) -> None:
    headers = {"x-topic": "t", "x-id": "i"}
    document = {"id": 4, "created": AT_TEXT, "data": {"order": {"id": 5}, "no": 1}}
    (routed,) = router(connector, "many").route(document, headers)
    assert routed.record == {
        "order": {"id": 5}, "no": 1, "id": "5", "_observed_at": AT_TEXT
    }  # fmt: skip
    assert (routed.type, routed.event_id) == ("t", "i\n4")


def test_keys_of_a_digest_and_texts_and_counters(connector: Connector) -> None:
    document = {"created": AT_TEXT, "key": "d", "at": "c", "no": "r2", "id": 1, "n": 5, "data": {}}
    routed = router(connector, "many").route(document, {"x-topic": "gone"})
    day, counted = only(routed, "days").record, only(routed, "counted").record
    assert day is not None
    assert day["rev"] == "r2"
    listed = {"day": "d", "code": "c"}
    shape = connector.streams["days"].shaper({})
    assert shape is not None
    assert (shape(listed) or {})["_key"] == day["_key"]
    assert counted == {"id": 1, "n": 5}
    assert (
        "no"
        in failure(router(connector, "many"), {**document, "no": 5}, {"x-topic": "gone"}).pointer
    )


def test_what_is_gone_is_as_new_as_the_answer_that_said_so(connector: Connector) -> None:
    route = {"stream": "charges", "fetch": {"path": "/c", "values": {"id": "$.id"}}}
    log = msgspec.structs.replace(
        connector.events["log"], time=None, routes=[msgspec.convert(route, Route, dec_hook=decode)]
    )
    routes = Router(log, connector.streams)
    (routed,) = routes.route({"id": 1, "type": "x"})
    assert routed.record == {"id": 1}
    answered = read_instant(AT_TEXT)
    assert routes.gone(0, routed.record, answered) == {"id": 1, "updated": AT}
    assert routes.gone(0, {"id": 1, "updated": AT + 5}, answered) == {"id": 1, "updated": AT + 5}


def test_an_api_that_gives_no_key_for_what_is_gone_asks_without(connector: Connector) -> None:
    document = {"created": AT_TEXT, "key": "k", "data": {}}
    routed = only(router(connector, "many").route(document, {"x-topic": "ask"}), "orders")
    assert (routed.values, routed.record) == ({"nr": "k"}, None)


@pytest.mark.parametrize(
    ("document", "kind", "pointer"),
    [
        ([], "missing_field", "$.type"),
        (event("order.created", data=[]), "bad_type", "/data"),
        (event("order.created"), "missing_field", "/data"),
        (event("order.created", data={"id": "x"}), "bad_key", "/data/id"),
        (event("order.deleted", data={"id": None}), "bad_key", "/data/id"),
        (event("line.changed", data={"no": 1}), "missing_field", "/data/order/id"),
        (event("line.changed", data={"order": {"id": {}}, "no": 1}), "bad_type", "/data/order/id"),
        ({**event("order.created", data={}), "created": "soon"}, "bad_date", "/created"),
        ({"type": "order.created"}, "missing_field", "/created"),
        ({"type": {}}, "bad_type", "$.type"),
    ],
)
def test_what_is_missing_or_wrong_is_told_with_its_place(
    connector: Connector, document: Any, kind: str, pointer: str
) -> None:
    error = failure(router(connector), document)
    assert (error.kind, error.pointer) == (kind, pointer)
    assert str(error)


def test_an_event_that_nobody_wants_is_nothing(connector: Connector) -> None:
    source = connector.events["log"]
    assert Router(source, {}).route({"type": "x"}) == []
    orders = {"orders": connector.streams["orders"]}
    assert Router(source, orders).route({"type": "line.changed"}) == []


def test_several_events_in_one_request(connector: Connector) -> None:
    many = router(connector, "many")
    assert many.split({"data": [1, 2]}) == [1, 2]
    assert router(connector).split({"data": [1, 2]}) == [{"data": [1, 2]}]
    with pytest.raises(RouteError, match="no events"):
        many.split([1])


@given(EVENTS)
@settings(max_examples=30)
def test_a_log_and_a_webhook_with_the_same_routes_say_the_same(
    connector: Connector, document: Any
) -> None:
    told: list[Any] = []
    for name in ("log", "same"):
        try:
            told.append(router(connector, name).route(document))
        except RouteError as error:
            told.append((error.kind, error.pointer))
    assert repr(told[0]) == repr(told[1])


FORMATS = ["epoch_s", "epoch_ms", "epoch_us", "iso8601", "date", "date@Europe/Berlin"]
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(INSTANTS, st.sampled_from(FORMATS), st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_a_tombstone_is_not_older_than_any_update_of_its_moment(
    connector: Connector, deleted: datetime, text: str, before: timedelta
) -> None:
    """Whatever was changed before the deletion, and is written as exactly as its time is."""
    form = InstantFormat.parse(text)
    log = connector.events["log"]
    assert log.time is not None
    log = msgspec.structs.replace(log, time=msgspec.structs.replace(log.time, format=form))
    routes = Router(log, connector.streams, KINDS)
    document = {**event("order.deleted", data={"id": 1}), "created": form.write(deleted)}
    record = only(routes.route(document), "orders").record
    assert record is not None
    version = read_instant(record["updated_at"])
    assert version >= form.read(form.write(deleted - before))
    assert version >= deleted


@given(st.integers(-(10**30), 10**30))
def test_numbers_and_their_texts_are_one_key(number: int) -> None:
    assert coerced(str(number), "integer") == number
    assert coerced(Decimal(number), "integer") == number
    assert coerced(number, "string") == str(number)
    assert coerced(str(number), "number") == number


@given(SCALARS, st.sampled_from(["integer", "number", "decimal", "string", "uuid", "x", None]))
def test_a_coerced_value_stays_as_it_is(value: Any, kind: str | None) -> None:
    try:
        once = coerced(value, kind)
    except ValueError:
        return
    assert repr(coerced(once, kind)) == repr(once)
