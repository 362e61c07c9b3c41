"""Where the records are in an answer: a list, an object of objects, or rows with a header."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec
from msgspec import UNSET

from tap_saas.authoring import vocabulary
from tap_saas.authoring.naming import singular, words
from tap_saas.connector.exchange import Response
from tap_saas.connector.jsonpath import EVERY, Path, Step
from tap_saas.connector.records_form import Records

DEEPEST = 4
ALIKE = 0.5  # how much of their members objects of one list share at least


class Listing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A place that holds records, as `records:` of a stream says it, and what is there now."""

    at: Path
    records: list[dict[str, Any]]
    keyed: str | None = None
    header: Path | None = None

    @property
    def form(self) -> Any:
        """The value of `records:`."""
        more = {"keyed": self.keyed, "header": self.header and str(self.header)}
        said = {name: value for name, value in more.items() if value}
        return {"at": str(self.at), **said} if said else str(self.at)

    @cached_property
    def model(self) -> Records:
        """What reads the same place in another answer."""
        return Records(at=self.at, keyed=self.keyed, header=self.header)

    def read(self, response: Response) -> list[dict[str, Any]] | None:
        """The records at this place of another answer, `None` where there is no such list."""
        try:
            found = self.model.read(response.document.value)
        except ValueError:
            return None
        if found is UNSET or not all(isinstance(record, dict) for record in found):
            return None
        return list(found)

    def described(self) -> str:
        """`100 objects at $.data`."""
        if self.keyed is not None:
            return f"an object of {len(self.records)} objects at {self.at}"
        if self.header is not None:
            return f"{len(self.records)} rows at {self.at}, their names at {self.header}"
        return f"{len(self.records)} object{'s' * (len(self.records) != 1)} at {self.at}"


def find(document: Any, stream: str = "") -> list[Listing]:
    """The places of a body that may hold its records, the likeliest first; empty lists last."""
    found = list(_listings((), document, document))
    return sorted(found, key=lambda listing: _rank(listing, stream))


def outside(document: Any, listing: Listing) -> Iterator[tuple[Path, Any]]:
    """The scalars of a body that are neither in its records nor in any other list."""
    steps = listing.at.steps
    end = next((n for n, step in enumerate(steps) if not isinstance(step, str)), len(steps))
    if end:
        yield from _scalars((), document, steps[:end])


def _scalars(
    steps: tuple[str, ...], value: Any, records: tuple[Step, ...]
) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        if steps != records and len(steps) <= DEEPEST:
            for name, inner in value.items():
                yield from _scalars((*steps, name), inner, records)
    elif steps and not isinstance(value, list):
        yield Path(steps), value


def _listings(steps: tuple[str, ...], value: Any, document: Any) -> Iterator[Listing]:
    if isinstance(value, list):
        yield from _in_list(steps, value, document)
        return
    if not isinstance(value, dict) or len(steps) > DEEPEST:
        return
    if _are_alike(list(value.values())):
        records = list(value.values())
        keyed = "key" if any("id" in record for record in records) else "id"
        read = [{keyed: name, **record} for name, record in value.items()]
        yield Listing(at=Path(steps), records=read, keyed=keyed)
        return
    for name, inner in value.items():
        yield from _listings((*steps, name), inner, document)


def _in_list(steps: tuple[str, ...], value: list[Any], document: Any) -> Iterator[Listing]:
    if not value:
        yield Listing(at=Path(steps), records=[])
    elif all(isinstance(one, dict) for one in value):
        inner = _wrapped(value)
        path: tuple[Step, ...] = steps if inner is None else (*steps, EVERY, inner)
        yield Listing(
            at=Path(path), records=value if inner is None else [one[inner] for one in value]
        )
    elif all(isinstance(one, list) for one in value):
        for header, names in _headers(document, len(value[0])):
            if all(len(row) == len(names) for row in value):
                read = [dict(zip(names, row, strict=True)) for row in value]
                yield Listing(at=Path(steps), records=read, header=header)
                return


def _wrapped(records: list[dict[str, Any]]) -> str | None:
    """The one member under which each record is wrapped, as `node` in `edges`."""
    for name in vocabulary.WRAPPERS:
        if all(
            isinstance(one.get(name), dict) and one.keys() <= {name, "cursor"} for one in records
        ):
            return name
    return None


def _headers(document: Any, count: int) -> Iterator[tuple[Path, list[str]]]:
    """Lists of so many different names: texts, or objects with a `name`."""
    for steps, value in _lists((), document):
        for path, names in (
            (Path(steps), value),
            (Path((*steps, EVERY, "name")), [_name(one) for one in value]),
        ):
            are_names = all(isinstance(name, str) for name in names)
            if len(names) == count and are_names and len(set(names)) == count:
                yield path, names


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, dict) else None


def _lists(steps: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if isinstance(value, list):
        yield steps, value
    elif isinstance(value, dict) and len(steps) <= DEEPEST:
        for name, inner in value.items():
            yield from _lists((*steps, name), inner)


def _are_alike(values: list[Any]) -> bool:
    """True for two objects or more that have most of their members in common."""
    if len(values) < 2 or not all(isinstance(value, dict) and len(value) > 1 for value in values):
        return False
    names = [set(value) for value in values]
    shared, all_names = set.intersection(*names), set.union(*names)
    return len(shared) >= ALIKE * len(all_names)


def _rank(listing: Listing, stream: str) -> tuple[int, int, int, int]:
    keys = [step for step in listing.at.steps if isinstance(step, str)]
    last = keys[-1].lower() if keys else ""
    if not keys:
        named = 2
    elif stream and {singular(last), last} & {singular(stream), stream}:
        named = 3
    elif words(last) and words(last)[-1] in vocabulary.LISTS:
        named = 2
    else:
        named = 0 if vocabulary.ASIDE & {word for key in keys for word in words(key)} else 1
    if listing.keyed is not None:
        named -= 1
    return (-bool(listing.records), -named, -len(listing.records), len(keys))
