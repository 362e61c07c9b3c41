"""What SCHEMA messages ask for, and the ones that cannot become a guarded table."""

from __future__ import annotations

from typing import Any

import pytest
from singer_lines import DATE_TIME, INTEGER, TEXT, schema

from target_config.errors import TargetConfigError
from target_config.streams import Version, read_stream, read_streams

ORDERS = {"id": INTEGER, "updated_at": DATE_TIME, "name": TEXT}


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("updated_at", Version("updated_at")),
        ("id", Version("id")),
        ({"text": "name"}, Version("name", as_text=True)),
        (None, None),
    ],
)
def test_the_annotation_names_the_version(version: Any, wanted: Version | None) -> None:
    message = {**schema("orders", ORDERS, version=version), "bookmark_properties": ["id"]}
    assert read_stream(message, "public").version == wanted


def test_without_the_annotation_the_first_bookmark_property_is_the_version() -> None:
    message = schema("orders", ORDERS)
    del message["schema"]["x-version"]
    assert read_stream(message, "public").version is None
    message["bookmark_properties"] = ["updated_at", "id"]
    assert read_stream(message, "public").version == Version("updated_at")


def test_the_table_is_what_follows_the_last_dash() -> None:
    assert read_stream(schema("shop-eu-orders", ORDERS), "public").qualified == "public.orders"


def test_other_messages_are_passed_over_and_the_last_schema_of_a_stream_counts() -> None:
    messages = [
        schema("orders", {"id": INTEGER, "updated_at": DATE_TIME}),
        {"type": "RECORD", "stream": "orders", "record": {}},
        schema("orders", ORDERS),
        {"type": "STATE", "value": {}},
    ]
    (stream,) = read_streams(messages, "public")
    assert "name" in stream.columns


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([schema("a-x", ORDERS), schema("b-x", ORDERS)], "a-x and b-x both go to .* public.x"),
        ([schema("o", ORDERS, version="name")], "the version name is text, which has no order"),
        ([schema("o", ORDERS, version={"text": "id"})], "declared as text and is bigint; write"),
        ([schema("o", ORDERS, version="changed")], "version changed is not in the stream's"),
        ([schema("o", ORDERS, key=("uid",))], "primary key uid is not in the stream's schema"),
        ([schema("o" * 64, ORDERS)], "cannot be a name in PostgreSQL"),
        ([schema("o", {**ORDERS, "ä" * 32: TEXT})], "cannot be a name in PostgreSQL"),
        ([schema("o", {**ORDERS, "50%": TEXT})], "cannot be a name in PostgreSQL"),
        ([{"stream": "o", "schema": {}}], "the stream has no properties"),
        ([{"stream": "o"}], "without stream or schema"),
    ],
)
def test_mistakes_are_one_line(messages: list[dict[str, Any]], what: str) -> None:
    with pytest.raises(TargetConfigError, match=what) as caught:
        read_streams(messages, "public")
    assert "\n" not in str(caught.value)
