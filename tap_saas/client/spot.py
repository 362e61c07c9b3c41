"""Where a walk stands: the list's own page token, and what must be known of the pages before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeAlias, get_args

import msgspec
from msgspec import UNSET

from tap_saas.connector.exchange import PageToken, field
from tap_saas.connector.fields import HashKey
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.model import OBSERVED, Stream, TextVersion
from tap_saas.connector.records_form import RecordsForm
from tap_saas.errors import PageTokenExpiredError

KEPT = 16  # records of a page by which its place in the list is known again
Turn: TypeAlias = Literal["walk", "again", "head"]
"""The walk, the whole list once more, the beginning of the list once more."""


class Spot(msgspec.Struct, frozen=True, array_like=True):
    """A place in a walk, as a JSON value from which the walk can go on.

    `token` is the list's own, None for the first page; `records` were before it. `keys` are those
    of the last records of the page before, `head` those of the first records of the list. `total`
    is what the list said of its length, `shrank` that records may have been missed since.
    """

    token: Any = None
    records: int = 0
    keys: list[str] = []
    head: list[str] = []
    total: int | None = None
    shrank: bool = False
    turn: Turn = "walk"

    @classmethod
    def of(cls, token: PageToken | None) -> Self:
        """The spot of a page token that `kept` gave, or of a list's own token.

        Raises:
            PageTokenExpiredError: it looks like one of `kept`, and is none.
        """
        try:
            return msgspec.convert(token, cls) if is_kept(token) else cls(token)
        except msgspec.ValidationError as error:
            raise PageTokenExpiredError(f"the page token cannot be read ({error})") from error

    @property
    def kept(self) -> PageToken:
        """The spot as a page token."""
        return msgspec.to_builtins(self)


def is_kept(token: PageToken | None) -> bool:
    """True for a page token that `Spot.kept` gave."""
    return (
        isinstance(token, list)
        and len(token) == len(Spot.__struct_fields__)
        and token[-1] in get_args(Turn)
    )


def own(token: PageToken | None) -> PageToken | None:
    """The list's own token of a page token: the same page, whatever was before it."""
    return Spot.of(token).token


Key: TypeAlias = Callable[[Any], str]
"""A record -> a short text that is the same for the same record with the same version."""


def key_of(form: RecordsForm) -> Key:
    """How records of a list are known again: by primary key and version, else whole."""
    keys, version = _paths(form)

    def key(record: Any) -> str:
        values: list[Any] = [field(record, path) for path in keys]
        if not values or any(value is UNSET or value is None for value in values):
            return _digest(record)
        order = UNSET if version is None else field(record, version)
        return _digest([*values, None if order is UNSET else order])

    return key


def _paths(form: RecordsForm) -> tuple[Sequence[Path], Path | None]:
    if not isinstance(form, Stream):
        return (), None
    keys = form.primary_key
    paths = keys.hash if isinstance(keys, HashKey) else keys or ()
    version = form.version.text if isinstance(form.version, TextVersion) else form.version
    if version is not None and version != OBSERVED:
        return paths, Path.parse(version)
    return paths, None if form.incremental is None else form.incremental.field


def _digest(value: Any) -> str:
    try:
        text = msgspec.json.encode(value, order="sorted", enc_hook=str)
    except (ValueError, TypeError, RecursionError):
        text = repr(value).encode(errors="replace")
    return hashlib.blake2b(text, digest_size=6).hexdigest()
