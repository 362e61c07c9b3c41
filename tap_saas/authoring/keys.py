"""Which fields tell records apart: the candidates for a primary key."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.authoring import vocabulary
from tap_saas.authoring.naming import singular, words
from tap_saas.connector.exchange import written
from tap_saas.connector.jsonpath import Path

LONGEST = 255
MOST_IN_A_PAIR = 6


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A primary key that the records allow; `is_sure` where its name is that of a key as well."""

    paths: tuple[Path, ...]
    is_sure: bool
    hashed: bool = False

    @property
    def form(self) -> Any:
        """The value of `primary_key:`."""
        names = [short(path) for path in self.paths]
        return {"hash": names} if self.hashed else names

    def of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """What names a record."""
        return tuple(repr(path.get(record)) for path in self.paths)


def short(path: Path) -> str:
    """A field's path, a plain name where it is one at the top."""
    is_plain = len(path.steps) == 1 and str(path) == f"$.{path.steps[0]}"
    return str(path.steps[0]) if is_plain else str(path)


def find(records: Sequence[Mapping[str, Any]], stream: str = "") -> list[Key]:
    """The primary keys that these records allow, the likeliest first; a digest where none does."""
    ranked = sorted(
        ((rank, path) for path in _paths(records) if (rank := _rank(path, stream)) is not None),
        key=lambda one: (one[0], len(one[1].steps)),
    )
    usable = [(rank, path) for rank, path in ranked if _is_usable(path, records)]
    single = [
        Key(paths=(path,), is_sure=rank < 2)
        for rank, path in usable
        if _is_unique((path,), records)
    ]
    if any(key.is_sure for key in single):
        return single
    pairs = itertools.combinations([path for rank, path in usable[:MOST_IN_A_PAIR] if rank < 4], 2)
    two = [Key(paths=pair, is_sure=False) for pair in pairs if _is_unique(pair, records)]
    return [*single, *two] or [_digest(records)]


def _digest(records: Sequence[Mapping[str, Any]]) -> Key:
    names = dict.fromkeys(name for record in records for name in record)
    scalars = [name for name in names if all(_is_scalar(record.get(name)) for record in records)]
    stable = [name for name in scalars if not {"updated", "modified", "changed"} & {*words(name)}]
    return Key(
        paths=tuple(Path((name,)) for name in stable or scalars or names),
        is_sure=False,
        hashed=True,
    )


def _paths(records: Sequence[Mapping[str, Any]]) -> Iterable[Path]:
    """Every scalar field of the first record, those of its objects too."""
    for name, value in records[0].items() if records else ():
        if isinstance(value, dict):
            yield from (Path((name, inner)) for inner in value if _is_scalar(value[inner]))
        else:
            yield Path((name,))


def _rank(path: Path, stream: str) -> int | None:
    """How much a field's name is that of a key: 0 most, `None` never."""
    parts = words(str(path.steps[-1]))
    if not parts or vocabulary.NO_KEYS & set(parts):
        return None
    own = {*words(singular(stream)), *words(stream)}
    depth = 2 * (len(path.steps) - 1)
    if len(parts) == 1 and parts[0] in vocabulary.KEYS:
        return depth + (parts[0] not in {"id", "uuid"})
    if len(parts) == 1 and parts[0].endswith("id") and parts[0][:-2] in own:
        return depth + 1
    if parts[-1] in vocabulary.KEYS and own and set(parts[:-1]) <= own:
        return depth + 1
    if parts[-1] in vocabulary.KEYS:
        return depth + 2
    return depth + (3 if parts[-1] in vocabulary.NUMBERED else 4)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _is_usable(path: Path, records: Sequence[Mapping[str, Any]]) -> bool:
    """True for texts or whole numbers that no record lacks."""
    values = [path.get(record) for record in records]
    return all(
        value is not UNSET
        and ((isinstance(value, int) and not isinstance(value, bool)) or _is_short(value))
        for value in values
    )


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST


def _is_unique(paths: tuple[Path, ...], records: Sequence[Mapping[str, Any]]) -> bool:
    seen = {tuple(written(path.get(record)) for path in paths) for record in records}
    return len(seen) == len(records)
