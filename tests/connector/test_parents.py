"""Partitions out of parent records and lists."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tap_saas.connector.decoding import decode
from tap_saas.connector.lineage import ancestors, columns, context, is_own_ancestor
from tap_saas.connector.model import Stream
from tap_saas.connector.parents import ForEach, Parent
from tap_saas.errors import ConfigError


def parent(**options: Any) -> Parent:
    return msgspec.convert(options, Parent, dec_hook=decode)


def test_a_parent_record_gives_a_context() -> None:
    orders = parent(stream="orders", values={"order": "$.id", "shop": "$.shop.id"})
    assert orders.names == ("order", "shop")
    assert orders.contexts({"id": 1, "shop": {"id": "s"}}) == {"order": 1, "shop": "s"}


@pytest.mark.parametrize("record", [{}, {"id": None}, {"id": {}}, {"id": [1]}])
def test_a_parent_record_without_a_single_value_gives_none(record: dict[str, Any]) -> None:
    assert parent(stream="orders", values={"order": "$.id"}).contexts(record) is None


@pytest.mark.parametrize(
    ("said", "items"),
    [
        (["eu", "us", "eu"], ["eu", "us"]),
        ("{regions}", ["eu", 5]),
        (["{region}", "us"], ["de", "us"]),
        ("{unset}", []),
    ],
)
def test_a_list_gives_each_value_once(said: Any, items: list[Any]) -> None:
    regions = parent(**{"list": said, "as": "region"})
    assert regions.names == ("region",)
    assert regions.items({"regions": ["eu", 5, "eu"], "region": "de"}) == items


@pytest.mark.parametrize("value", ["eu", {"a": 1}, [["eu"]], [None], [{"a": 1}]])
def test_what_is_no_list_of_single_values_is_told(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"the list of region (is not a list|holds more)"):
        parent(**{"list": "{regions}", "as": "region"}).items({"regions": value})
    with pytest.raises(ConfigError, match=r"the setting regions (is not a list|holds more)"):
        ForEach(setting="regions", as_="region").items({"regions": value})


def stream(*parents: dict[str, Any], **options: Any) -> Stream:
    raw = {"path": "/x", "pagination": {"type": "single"}, "parents": list(parents), **options}
    return msgspec.convert(raw, Stream, dec_hook=decode)


def test_a_context_has_the_values_of_all_streams_above() -> None:
    streams = {
        "shops": stream(for_each={"setting": "accounts", "as": "account"}),
        "orders": stream({"stream": "shops", "values": {"shop": "id"}}),
        "lines": stream(
            {"stream": "orders", "values": {"order": "id"}}, {"list": ["eu"], "as": "region"}
        ),
    }
    assert context(streams, "lines") == ("account", "shop", "order", "region")
    assert list(ancestors(streams, "lines")) == ["orders", "shops"]
    assert not is_own_ancestor(streams, "lines")


def test_circles_end() -> None:
    streams = {
        "a": stream({"stream": "b", "values": {"b": "id"}}),
        "b": stream({"stream": "c", "values": {"c": "id"}}),
        "c": stream({"stream": "b", "values": {"d": "id"}}),
    }
    assert [is_own_ancestor(streams, name) for name in streams] == [False, True, True]
    assert set(context(streams, "a")) == {"b", "c", "d"}


def test_values_of_a_batch_become_no_columns() -> None:
    batched = {"stream": "orders", "values": {"ids": "$.id"}, "batch": 100}
    streams = {
        "shops": stream(),
        "orders": stream({"stream": "shops", "values": {"shop": "$.id"}}),
        "lines": stream(batched),
        "parts": stream({"stream": "lines", "values": {"line": "$.id"}}),
    }
    assert columns(streams, "orders") == ("shop",)
    assert columns(streams, "lines") == ("shop",)
    assert columns(streams, "parts") == ("shop", "line")
    assert context(streams, "parts") == ("shop", "ids", "line")
