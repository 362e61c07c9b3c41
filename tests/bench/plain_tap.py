"""The tap that one writes by hand on singer-sdk, for comparison: a RESTStream, nothing tuned."""

from __future__ import annotations

from typing import Any, ClassVar

from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.pagination import JSONPathPaginator
from singer_sdk.streams import RESTStream

_TEXT, _NUMBER = th.StringType, th.NumberType


class Orders(RESTStream[Any]):
    """The list of orders."""

    name = "orders"
    path = "/orders"
    records_jsonpath = "$.data[*]"
    primary_keys: ClassVar[list[str]] = ["id"]
    replication_key = "updated_at"
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType),
        th.Property("number", _TEXT),
        th.Property("customer_id", th.IntegerType),
        th.Property("status", _TEXT),
        th.Property("currency", _TEXT),
        th.Property("amount", _NUMBER),
        th.Property("is_gift", th.BooleanType),
        th.Property("email", _TEXT),
        th.Property("note", _TEXT),
        th.Property("tags", th.ArrayType(_TEXT)),
        th.Property(
            "address",
            th.ObjectType(
                th.Property("street", _TEXT), th.Property("city", _TEXT), th.Property("zip", _TEXT)
            ),
        ),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
    ).to_dict()

    @property
    def url_base(self) -> str:
        return str(self.config["url"])

    def get_new_paginator(self) -> JSONPathPaginator:
        return JSONPathPaginator("$.next_page")

    def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
        return {"page": next_page_token}


class PlainTap(Tap):
    """The plain tap."""

    name = "tap-plain"
    config_jsonschema = th.PropertiesList(th.Property("url", th.StringType)).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [Orders(self)]


if __name__ == "__main__":
    PlainTap.cli()
