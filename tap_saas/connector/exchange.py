"""The values that travel: a request, its response, a page of records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from tap_saas.connector.jsonpath import Path

Pairs = tuple[tuple[str, str], ...]
PageToken = Any  # a JSON value; None asks for the first page

_DECODER = msgspec.json.Decoder()
_EXACT = msgspec.json.Decoder(float_hook=Decimal)
_LEVEL = msgspec.json.Decoder(dict[str, msgspec.Raw])


def written(value: Any) -> str:
    """A scalar as parameters, headers and forms carry it: booleans as true and false."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list)) or value is None else str(value)


def _pairs(name: str, value: Any) -> Pairs:
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple((name, written(one)) for one in values)


class Body(msgspec.Struct, frozen=True):
    """What a request sends: a JSON value, the members of a form, or a text."""

    kind: Literal["json", "form", "text"]
    value: Any

    def encode(self) -> tuple[bytes, str]:
        """The bytes and their content type."""
        if self.kind == "json":
            return json.dumps(self.value, separators=(",", ":")).encode(), "application/json"
        if self.kind == "form":
            members = (pair for name, value in self.value.items() for pair in _pairs(name, value))
            return urlencode(list(members)).encode(), "application/x-www-form-urlencoded"
        return written(self.value).encode(), "text/plain; charset=utf-8"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request; `url` is absolute and may hold a query, to which `params` are added."""

    method: str = "GET"
    url: str
    params: Pairs = ()
    headers: Pairs = ()
    body: Body | None = None

    def with_param(self, name: str, value: Any) -> Request:
        """With this parameter alone of its name: a list repeats it, None and UNSET remove it."""
        new = () if value is None or value is UNSET else _pairs(name, value)
        return msgspec.structs.replace(self, params=_replaced(self.params, name, new, fold=False))

    def with_header(self, name: str, value: Any) -> Request:
        """With this header instead of those of its name in any case; None or UNSET removes it."""
        new = () if value is None or value is UNSET else _pairs(name, value)
        return msgspec.structs.replace(self, headers=_replaced(self.headers, name, new, fold=True))

    def with_url(self, url: str) -> Request:
        """The same request to a link that already says everything: its parameters are dropped."""
        return msgspec.structs.replace(self, url=url, params=())

    def with_json(self, value: Any) -> Request:
        """With this JSON value as its body."""
        return msgspec.structs.replace(self, body=Body("json", value))


def _replaced(pairs: Pairs, name: str, new: Pairs, *, fold: bool) -> Pairs:
    """The pairs with `new` where the first of that name stood, or at the end."""
    wanted = name.lower() if fold else name
    kept = []
    for pair in pairs:
        if (pair[0].lower() if fold else pair[0]) != wanted:
            kept.append(pair)
        else:
            kept.extend(new)
            new = ()
    return (*kept, *new)


class Headers(Mapping[str, str]):
    """Response headers: found in any case, kept as they were written."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = {name.lower(): (name, value) for name, value in headers.items()}

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._headers.values())

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return f"Headers({dict(self.items())!r})"


class Response(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One HTTP response, whole; `url` is what answered, `tries` counts the requests it took."""

    status: int
    headers: Headers
    body: bytes
    url: str
    received_at: datetime
    request_id: str | None = None
    tries: int = 1

    @cached_property
    def document(self) -> Document:
        """The body as JSON, decoded when and where it is asked for."""
        return Document(self.body)


class Document:
    """A JSON body of which only what is asked for is decoded; for one thread.

    What msgspec refuses (NaN, lone surrogates, a byte order mark) the standard library decodes.
    """

    __slots__ = ("_levels", "_value", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._value: Any = UNSET
        self._levels: dict[tuple[str, ...], dict[str, msgspec.Raw] | None] = {}

    @property
    def value(self) -> Any:
        """The whole body; raises ValueError when it is not JSON."""
        if self._value is UNSET:
            self._value = _decoded(self.body, _DECODER)
        return self._value

    def get(self, path: Path) -> Any:
        """The value at a path, UNSET where there is none; raises ValueError where it is no JSON."""
        if path.keys and self._value is UNSET:
            raw = self._raw(path.keys)
            if raw is not None:
                return _decoded(raw, _DECODER)
        return path.get(self.value)

    def exact(self, path: Path) -> Any:
        """As `get`, with decimals where JSON has a fraction or an exponent: no digit is lost."""
        raw = self._raw(path.keys) if path.keys else None
        return path.get(_decoded(self.body, _EXACT)) if raw is None else _decoded(raw, _EXACT)

    def raw(self, path: Path) -> bytes | None:
        """The JSON text at a plain member path, its inside neither decoded nor checked.

        None where the path is not plain or not there, or where msgspec refuses the body.
        """
        if not path.keys:
            return None if path.keys is None else self.body
        raw = self._raw(path.keys)
        return None if raw is None else bytes(raw)

    def _raw(self, keys: tuple[str, ...]) -> msgspec.Raw | None:
        level = self._level(keys[:-1])
        return None if level is None else level.get(keys[-1])

    def _level(self, keys: tuple[str, ...]) -> dict[str, msgspec.Raw] | None:
        """The members of the object at these keys, None where there is no object."""
        if keys not in self._levels:
            raw: Any = self._raw(keys) if keys else self.body
            try:
                self._levels[keys] = None if raw is None else _LEVEL.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._levels[keys] = None
        return self._levels[keys]


def _decoded(data: Any, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        exact = decoder is _EXACT
    try:
        return json.loads(bytes(data), parse_float=Decimal if exact else None)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One response's records in a walk; `number` counts from 1 in this walk.

    `token` asked for this page and `next_token` asks for the next, None after the last. `records`
    are JSON objects (lane dict) or structs of the stream's type (lane fast); `received` counts
    them before any was left out. `is_again` says that a part of the list is read once more.
    """

    number: int
    token: PageToken | None
    next_token: PageToken | None = None
    response: Response
    records: list[Any]
    received: int
    lane: Literal["fast", "dict"] = "dict"
    is_again: bool = False

    def last(self, path: Path) -> Any:
        """The value at a path of the last record, UNSET where there is none."""
        return field(self.records[-1], path) if self.records else UNSET


def field(record: Any, path: Path) -> Any:
    """The value at a path of a record of either lane."""
    if not isinstance(record, msgspec.Struct):
        return path.get(record)
    names = dict(zip(record.__struct_encode_fields__, record.__struct_fields__, strict=True))
    first, *rest = path.steps
    if not isinstance(first, str) or first not in names:
        return UNSET
    value = getattr(record, names[first])
    return field(value, Path(rest)) if rest else value
