"""What a loaded connector does: requests, records, keys and versions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tap_saas.connector.decoding import decode
from tap_saas.connector.exchange import Body
from tap_saas.connector.model import Setting, Stream
from tap_saas.connector.records_form import Records
from tap_saas.connector.request_form import BodyForm, Params, RequestForm
from tap_saas.connector.short_forms import spelled_out
from tap_saas.errors import ConfigError

BASE = "https://api.example/v1/"


def stream(**options: Any) -> Stream:
    raw = {"path": "/orders", "pagination": {"type": "single"}, "base_url": BASE, **options}
    return msgspec.convert(spelled_out(Stream, raw), Stream, dec_hook=decode)


def form(**options: Any) -> RequestForm:
    return msgspec.convert(
        {"path": "/me", "base_url": BASE, **options}, RequestForm, dec_hook=decode
    )


@pytest.mark.parametrize(
    ("path", "values", "url"),
    [
        ("/orders", {}, "https://api.example/v1/orders"),
        ("orders", {}, "https://api.example/v1/orders"),
        ("", {}, "https://api.example/v1"),
        ("/orders?sort=id", {}, "https://api.example/v1/orders?sort=id"),
        (
            "/orders/{id}",
            {"id": "a/b?c=d ü"},
            "https://api.example/v1/orders/a%2Fb%3Fc%3Dd%20%C3%BC",
        ),
        ("/orders/{id}", {"id": 7}, "https://api.example/v1/orders/7"),
        ("https://other.example/{id}", {"id": 7}, "https://other.example/7"),
        ("HTTPS://other.example/x", {}, "HTTPS://other.example/x"),
    ],
)
def test_a_url_is_base_and_path(path: str, values: dict[str, Any], url: str) -> None:
    assert form(path=path).build(values).url == url


def test_a_base_url_may_come_out_of_the_token() -> None:
    request = form(base_url="{token.instance_url}/services").build(
        {"token": {"instance_url": "https://eu1.example"}}
    )
    assert request.url == "https://eu1.example/services/me"


def test_a_url_without_a_value_is_one_clear_line() -> None:
    with pytest.raises(ConfigError) as caught:
        form(path="/orders/{id}").build({})
    assert str(caught.value) == "/orders/{id}: no value for id; set it"


def test_a_path_without_a_base_url_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="there is no base_url"):
        msgspec.convert({"path": "/me"}, RequestForm, dec_hook=decode).build({})


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({}, "GET"),
        ({"body": {"json": {}}}, "POST"),
        ({"method": "POST"}, "POST"),
        ({"method": "PUT", "body": {"text": "x"}}, "PUT"),
    ],
)
def test_the_method_is_get_unless_there_is_a_body(options: Any, method: str) -> None:
    assert form(**options).build({}).method == method


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ({"ids": [1, 2]}, (("ids", "1"), ("ids", "2"))),
        ({"ids": [1, 2], "arrays": "comma"}, (("ids", "1,2"),)),
        ({"ids": [1, 2], "arrays": "brackets"}, (("ids[]", "1"), ("ids[]", "2"))),
        ({"ids": [], "arrays": "comma"}, ()),
        ({"ids": "{list}", "arrays": "comma"}, (("ids", "a,b"),)),
        ({"a": True, "b": 1.5, "c": None, "d": "x y"}, (("a", "true"), ("b", "1.5"), ("d", "x y"))),
        ({"a": "{unset}", "b": "1"}, (("b", "1"),)),
        ({"a": "{unset}"}, ()),
        ({"since": "{start:epoch_s}"}, (("since", "1741608000"),)),
    ],
)
def test_parameters_are_sent_as_they_are_written(said: Any, sent: Any) -> None:
    values = {"list": ["a", "b"], "start": datetime(2025, 3, 10, 12, tzinfo=UTC)}
    assert Params.parse(said).fill(values) == sent


def test_headers_without_a_value_are_not_sent() -> None:
    request = form(headers={"A": "{a}", "B": 5, "C": "{unset}"}).build({"a": "x"})
    assert request.headers == (("A", "x"), ("B", "5"))
    assert form(headers={"C": "{unset}"}).build({}).headers == ()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ({"json": {"a": "{start}", "b": [{"c": "{start}"}], "d": 1}}, Body("json", {"d": 1})),
        ({"json": {"a": "{start}"}}, None),
        ({"json": {}}, Body("json", {})),
        ({"form": {"a": "{x}"}}, Body("form", {"a": 5})),
        ({"text": "q={x}"}, Body("text", "q=5")),
        ({"text": "q={start}"}, None),
    ],
)
def test_what_has_no_value_vanishes_from_a_body(said: Any, body: Body | None) -> None:
    assert msgspec.convert(said, BodyForm, dec_hook=decode).fill({"x": 5, "start": UNSET}) == body


def test_a_request_names_its_placeholders() -> None:
    said = form(
        path="/{a}", params={"x": "{b}"}, headers={"h": ["{c}"]}, body={"json": {"k": "{d:json}"}}
    )
    assert said.names == {"a", "b", "c", "d"}


def test_a_value_of_the_wrong_format_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"/me: .*soon"):
        form(params={"since": "{since:epoch_s}"}).build({"since": "soon"})


def records(**options: Any) -> Records:
    return msgspec.convert(options, Records, dec_hook=decode)


@pytest.mark.parametrize(
    ("said", "document", "found"),
    [
        ({"at": "$.data"}, {"data": [{"id": 1}]}, [{"id": 1}]),
        ({"at": "$"}, [{"id": 1}], [{"id": 1}]),
        ({"at": "$.data"}, {}, UNSET),
        ({"at": "$.data"}, {"data": None}, []),
        ({"at": "$.i", "keyed": "id"}, {"i": {"a": {"n": 1}, "b": {"id": 7}}},
         [{"id": "a", "n": 1}, {"id": 7}]),
        ({"at": "$.i", "keyed": "id"}, {"i": []}, []),
        ({"at": "$.i", "keyed": "id"}, {"i": None}, []),
        ({"at": "$.i", "keyed": "id"}, {}, UNSET),
        ({"at": "$.rows", "header": "$.cols"}, {"cols": ["a", "b"], "rows": [[1, 2], [3, None]]},
         [{"a": 1, "b": 2}, {"a": 3, "b": None}]),
        ({"at": "$.rows", "header": "$.cols[*].name"}, {"cols": [{"name": "a"}], "rows": [[1]]},
         [{"a": 1}]),
    ],
)  # fmt: skip
def test_records_are_found_where_they_are(said: Any, document: Any, found: Any) -> None:
    assert records(**said).read(document) == found


@pytest.mark.parametrize(
    ("said", "document"),
    [
        ({"at": "$.i", "keyed": "id"}, {"i": [1]}),
        ({"at": "$.i", "keyed": "id"}, {"i": {"a": 1}}),
        ({"at": "$.rows", "header": "$.cols"}, {"rows": [[1]]}),
        ({"at": "$.rows", "header": "$.cols"}, {"cols": [1], "rows": [[1]]}),
        ({"at": "$.rows", "header": "$.cols"}, {"cols": ["a"], "rows": [[1, 2]]}),
        ({"at": "$.rows", "header": "$.cols"}, {"cols": ["a"], "rows": [{"a": 1}]}),
    ],
)
def test_records_of_another_shape_are_refused(said: Any, document: Any) -> None:
    with pytest.raises(ValueError, match=r"\$\.\w+ is not"):
        records(**said).read(document)


@pytest.mark.parametrize(
    ("options", "key", "replication_key", "version", "kind", "columns"),
    [
        ({}, (), None, None, None, {}),
        ({"primary_key": ["id", "$.b.c"]}, ("id", "c"), None, None, None, {"c": "$.b.c"}),
        ({"primary_key": {"hash": ["a"]}}, ("_key",), None, None, None, {}),
        ({"incremental": {"key": "at"}}, (), "at", "at", "field", {}),
        ({"incremental": {"key": "$.m.at"}}, (), "at", "at", "field", {"at": "$.m.at"}),
        ({"incremental": {"key": "at"}, "version": "v"}, (), "at", "v", "field", {}),
        ({"version": "$.m.v"}, (), None, "v", "field", {"v": "$.m.v"}),
        ({"version": "observed"}, (), None, "_observed_at", "observed", {}),
        ({"version": {"text": "etag"}}, (), None, "etag", "text", {}),
    ],
)  # fmt: skip
def test_keys_and_versions_are_columns(
    options: Any, key: Any, replication_key: Any, version: Any, kind: Any, columns: Any
) -> None:
    found = stream(**options)
    assert found.key_columns == key
    assert found.replication_key == replication_key
    assert found.version_column == version
    assert found.version_kind == kind
    assert {name: str(path) for name, path in found.columns.items()} == columns


def test_a_plain_stream_leaves_its_records_alone() -> None:
    assert stream(primary_key=["id"], incremental={"key": "at"}).shaper({}) is None


def test_a_stream_shapes_its_records() -> None:
    shape = stream(
        primary_key={"hash": ["day", "code"]},
        incremental={"key": "$.meta.at"},
        fields={"rename": {"c": "code"}, "drop": ["meta"], "add": {"region": "{region}"}},
    ).shaper({"region": "eu"})
    assert shape is not None
    record = shape({"day": 1, "c": "x", "meta": {"at": "2025-01-01"}})
    assert record is not None
    assert len(record.pop("_key")) == 64
    assert record == {"day": 1, "code": "x", "at": "2025-01-01", "region": "eu"}


@pytest.mark.parametrize(
    ("options", "is_required"),
    [
        ({}, True),
        ({"default": 5}, False),
        ({"required": False}, False),
        ({"required": True, "default": 5}, True),
    ],
)
def test_a_setting_without_a_default_is_required(options: Any, is_required: bool) -> None:
    assert Setting(**options).is_required is is_required
