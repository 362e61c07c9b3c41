"""What a catalog must look like before the SDK reads it: one clear line instead of a crash."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from tap_saas.errors import ConfigError

MAX_DEPTH = 60
_Type: TypeAlias = Literal["string", "integer", "number", "boolean", "object", "array", "null"]


class _Schema(msgspec.Struct):
    """The members of a JSON Schema that are read; others are left alone."""

    type: _Type | list[_Type] | None = None
    properties: dict[str, _Schema] | None = None
    items: _Schema | None = None
    anyOf: list[_Schema] | None = None  # noqa: N815 - JSON Schema's name
    oneOf: list[_Schema] | None = None  # noqa: N815 - JSON Schema's name
    format: str | None = None
    required: list[str] | None = None

    def depth(self) -> int:
        """How many schemas are in each other."""
        inner = [*(self.properties or {}).values(), *(self.anyOf or ()), *(self.oneOf or ())]
        inner += [] if self.items is None else [self.items]
        return 1 + max((one.depth() for one in inner), default=0)


class _Facts(msgspec.Struct, rename=lambda name: name.replace("_", "-")):
    inclusion: Literal["available", "automatic", "unsupported"] | None = None
    selected: bool | None = None
    selected_by_default: bool | None = None
    table_key_properties: list[str] | None = None
    replication_key: str | None = None
    forced_replication_method: str | None = None
    valid_replication_keys: list[str] | None = None


class _Metadata(msgspec.Struct):
    breadcrumb: list[str]
    metadata: _Facts


class _Entry(msgspec.Struct):
    tap_stream_id: str
    stream: str | None = None
    schema: _Schema = msgspec.field(default_factory=_Schema)
    metadata: list[_Metadata] = []
    key_properties: list[str] | None = None
    replication_key: str | None = None
    replication_method: str | None = None


class _Catalog(msgspec.Struct):
    streams: list[_Entry]


def check(catalog: dict[str, Any]) -> None:
    """Refuse what is no catalog.

    Raises:
        ConfigError: naming the member that is wrong.
    """
    try:
        found = msgspec.convert(catalog, _Catalog)
        if any(entry.schema.depth() > MAX_DEPTH for entry in found.streams):
            raise RecursionError
    except msgspec.ValidationError as error:
        raise _unreadable(str(error)) from error
    except RecursionError:
        raise _unreadable("its schemas are nested too deeply") from None


def _unreadable(why: str) -> ConfigError:
    return ConfigError(
        f"the catalog cannot be read ({why})", do="mend it, or make it anew with --discover"
    )
