"""A request whose answer holds records: a list, a deleted-list, a record that an event names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.jsonpath import Path
from tap_saas.connector.pagination import Pagination
from tap_saas.connector.request_form import RequestForm


class Records(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`$.data`, `{at: $.items, keyed: id}` or `{at: $.rows, header: $.columns}`: where records are.

    at: the place of the list
    keyed: the list is an object of objects; its keys become this field
    header: records are arrays; the place of the names of their fields
    """

    at: Path
    keyed: str | None = None
    header: Path | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is a list of objects at a place, no more."""
        return self.keyed is None and self.header is None

    def read(self, document: Any) -> Any:
        """The records of a decoded body as a list, UNSET where the place is not there.

        Raises: `ValueError` for a body of another shape.
        """
        if self.keyed is not None:
            return self._read_keyed(document, self.keyed)
        records = self.at.items(document)
        if self.header is None or records is UNSET:
            return records
        names = self.header.items(document)
        if names is UNSET or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{self.header} is not a list of field names")
        if not all(isinstance(row, list) and len(row) == len(names) for row in records):
            raise ValueError(f"{self.at} is not a list of arrays of {len(names)} values")
        return [dict(zip(names, row, strict=True)) for row in records]

    def _read_keyed(self, document: Any, keyed: str) -> Any:
        found = self.at.get(document)
        if found is UNSET or found is None or found == []:
            return UNSET if found is UNSET else []
        if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
            raise ValueError(f"{self.at} is not an object of objects")
        return [{keyed: key, **record} for key, record in found.items()]


class RecordsForm(RequestForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: /orders, records: $.data, pagination: {...}}`: a request that is answered by records.

    records: where the records are in a response
    decode: what a body is
    pagination: how the list is walked
    """

    records: Annotated[Records, Meta(extra={"short": "at"})] = Records(at=Path.parse("$"))
    decode: Literal["json"] = "json"
    pagination: Pagination
