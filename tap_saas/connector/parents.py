"""Where a stream's partitions come from: the records of another stream, or a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.jsonpath import Path
from tap_saas.connector.template import Tree
from tap_saas.connector.units import Duration
from tap_saas.errors import ConfigError


class Changed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{full_every: 7d}`: parents that changed since the last pass, all now and then.

    A parent changed when its own incremental pass sees it. Children that change without their
    parent are missed until the next reading of all parents.

    full_every: how often the children of all parents are read
    """

    full_every: Duration


class Parent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{stream: orders, values: {order_id: $.id}}` or `{list: "{regions}", as: region}`.

    stream: the stream whose records are the parents
    values: placeholders and where a parent record has their values
    list: the values themselves, most often a setting
    as: the placeholder for a value of `list`
    changed: only parents that changed since the last pass, all of them every `full_every`
    since: where a parent record says when it was new, an instant; a parent newer than the child's
      watermark is read whole, so that many parents need no bookmark of their own
    batch: how many parents one request asks for; the placeholder is then a list of values, which
      name no partition and become no columns
    emit: false where the parent's own records are not wanted, only their values
    """

    stream: str | None = None
    values: dict[str, Path] = {}
    list_: Tree | None = msgspec.field(name="list", default=None)
    as_: str | None = msgspec.field(name="as", default=None)
    changed: Changed | None = None
    since: Path | None = None
    batch: Annotated[int, Meta(ge=1)] | None = None
    emit: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders that it gives."""
        return tuple(self.values) if self.as_ is None else (self.as_,)

    def contexts(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values of one parent record; `None` when one is missing or no single value."""
        context = {name: path.get(record) for name, path in self.values.items()}
        for value in context.values():
            if value is UNSET or value is None or isinstance(value, dict | list):
                return None
        return context

    def items(self, values: Mapping[str, Any]) -> list[Any]:
        """The values of a `list` parent, each once.

        Raises: `ConfigError` when it is no list of single values.
        """
        items = UNSET if self.list_ is None else self.list_.fill(values)
        return listed(items, f"the list of {self.as_}")


class ForEach(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{setting: accounts, as: account}`: the stream once for each value of a setting.

    setting: a setting of type array
    as: the placeholder for one of its values
    """

    setting: str
    as_: str = msgspec.field(name="as")

    def items(self, values: Mapping[str, Any]) -> list[Any]:
        """The setting's values, each once; raises `ConfigError` for what is no such list."""
        return listed(values.get(self.setting, UNSET), f"the setting {self.setting}")


def listed(items: Any, what: str) -> list[Any]:
    """Single values, each once, in order; nothing for what has no value.

    Raises: `ConfigError` when `items` is no list, or holds a list, an object or null.
    """
    if items is UNSET or items is None:
        return []
    if not isinstance(items, list):
        raise ConfigError(f"{what} is not a list", do="give a list, such as [eu, us]")
    if any(item is None or isinstance(item, dict | list) for item in items):
        raise ConfigError(f"{what} holds more than single values", do="give texts or numbers")
    return list(dict.fromkeys(items))
