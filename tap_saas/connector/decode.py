"""Bodies into records."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import Response
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.records_form import Records
from tap_saas.errors import ApiError

NO_CONTENT = 204
_ROOT = Path(())
_SHOWN = 80
_MEMBERS_SHOWN = 10


class Decoded(msgspec.Struct, frozen=True):
    """A page's records: JSON objects (lane dict), or structs of the stream's type (lane fast)."""

    records: list[Any]
    lane: Literal["fast", "dict"]


def read_records(records: Records, response: Response) -> list[dict[str, Any]]:
    """The records of a JSON body as objects; no digit of a number is lost. 204 has none.

    Raises:
        ValueError: the body is not JSON, an HTML page or cut: it is worth asking again.
        ApiError: the body holds no list of records where the connector says.
    """
    if response.status == NO_CONTENT and not response.body:
        return []
    document = _document(response)
    try:
        found = records.read(document)
    except ValueError as error:
        raise ApiError(str(error), do="check records of the stream") from error
    if found is UNSET:
        raise ApiError(
            f"no list at {records.at}; {_described(document)}", do="check records of the stream"
        )
    for number, record in enumerate(found, 1):
        if not isinstance(record, dict):
            raise ApiError(
                f"record {number} at {records.at} is {_kind(record)}, not an object",
                do="check records of the stream",
            )
    return found  # type: ignore[no-any-return]


def _document(response: Response) -> Any:
    try:
        return response.document.exact(_ROOT)
    except ValueError:
        start = response.body[: 4 * _SHOWN].decode(errors="replace")[:_SHOWN]
        shown = " ".join(start.split()) + "..." * (len(response.body) > _SHOWN)
        raise ValueError(
            f"the body is not JSON: {shown!r}" if response.body.strip() else "the body is empty"
        ) from None


def _described(document: Any) -> str:
    """What a body has instead: `the body has: data2, meta`."""
    if not isinstance(document, dict):
        return f"the body is {_kind(document)}"
    names = list(document)
    more = f" and {len(names) - _MEMBERS_SHOWN} more" if len(names) > _MEMBERS_SHOWN else ""
    shown = ", ".join(names[:_MEMBERS_SHOWN])
    return f"the body has: {shown}{more}" if names else "the body is an empty object"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "a number"
