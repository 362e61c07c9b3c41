"""By which parameter a list gives only what changed, found by asking from the middle on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tap_saas.authoring import vocabulary
from tap_saas.authoring.dates import DateField
from tap_saas.authoring.naming import like, words
from tap_saas.connector.exchange import Page, Request
from tap_saas.connector.formats import InstantFormat

OTHERS = ("date", "epoch_s", "epoch_ms", "%Y-%m-%dT%H:%M:%SZ")
GRAINS = (timedelta(0), timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1))
FIRST_GROUP = 4
NEIGHBOURS = 2


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter that was heeded: its format, and whether it includes the instant itself.

    `includes` is `None` where the answer does not tell.
    """

    name: str
    format: str
    date: DateField
    from_: datetime
    includes: bool | None


Ask = Callable[[Request, str], tuple[Page | None, bool]]
"""Asks for a first page, and why; the page, and whether the API refused."""


class Filters:
    """Looks for the parameter by which a list, whose first records are known, is filtered."""

    def __init__(
        self, ask: Ask, request: Request, dates: Sequence[DateField], records: Sequence[Any]
    ) -> None:
        self._ask = ask
        self._request = request
        self._dates = dates
        self._records = records

    def find(self) -> Filter | None:
        """The filter of the dates of changes, or where there are none, of what comes next."""
        role = next((date.role for date in self._dates if date.role != "other"), None)
        for date in self._dates:
            instants = _instants(date)
            if not instants or date.role != role:
                continue
            wanted = names(date, self._request)
            for format in dict.fromkeys((date.format, *OTHERS[:2])):
                found = self._together(wanted, date, instants, format)
                if found is not None:
                    return found
        return None

    def _together(
        self, wanted: Sequence[str], date: DateField, instants: Sequence[datetime], format: str
    ) -> Filter | None:
        """The parameter that is heeded: all at once, each with an instant of its own.

        The earliest record of the answer tells by its date which one it was.
        """
        sent = _shared_out(wanted, instants)
        page, is_refused = self._send(sent, format, f"one of {len(wanted)} parameters")
        if is_refused:
            return self._halves(wanted, date, instants[len(instants) // 2], format)
        earliest = None if page is None else _earliest(date, page)
        if earliest is None or earliest <= min(value for value in date.values if value):
            return None
        near = sorted(instants, key=lambda at: (at > earliest, abs(at - earliest)))
        for instant in near[:NEIGHBOURS]:
            found = self._among(
                [n for n, at in sent.items() if at == instant], date, instant, format
            )
            if found is not None:
                return found
        return None

    def _among(
        self, wanted: Sequence[str], date: DateField, middle: datetime, format: str
    ) -> Filter | None:
        """The parameter among these that is heeded: all with one instant, then halves."""
        if not wanted:
            return None
        found, is_refused = self._try(wanted, date, middle, format)
        if len(wanted) == 1:
            if is_refused:
                return self._otherwise(wanted[0], date, middle, format)
            return found
        if found is None and not is_refused:
            return None
        return self._halves(wanted, date, middle, format)

    def _halves(
        self, wanted: Sequence[str], date: DateField, middle: datetime, format: str
    ) -> Filter | None:
        half = min(FIRST_GROUP, -(-len(wanted) // 2))
        return self._among(wanted[:half], date, middle, format) or self._among(
            wanted[half:], date, middle, format
        )

    def _otherwise(
        self, name: str, date: DateField, middle: datetime, format: str
    ) -> Filter | None:
        """A parameter that is known, as it is refused: written in another format."""
        for other in OTHERS:
            if other != format:
                found, _ = self._try([name], date, middle, other)
                if found is not None:
                    return found
        return None

    def _try(
        self, wanted: Sequence[str], date: DateField, middle: datetime, format: str
    ) -> tuple[Filter | None, bool]:
        what = wanted[0] if len(wanted) == 1 else f"one of {len(wanted)} parameters"
        page, is_refused = self._send(dict.fromkeys(wanted, middle), format, what)
        if page is None or not self._is_heeded(page, date, middle):
            return None, is_refused
        written = InstantFormat.parse(format)
        is_exact = written.read(written.write(middle)) == middle
        includes = any(date.of(record) == middle for record in page.records) if is_exact else None
        found = Filter(name=wanted[0], format=format, date=date, from_=middle, includes=includes)
        return found, False

    def _send(
        self, instants: Mapping[str, datetime], format: str, what: str
    ) -> tuple[Page | None, bool]:
        request, write = self._request, InstantFormat.parse(format).write
        for name, instant in instants.items():
            request = request.with_param(name, write(instant))
        return self._ask(request, f"{what} from {write(min(instants.values()))} on")

    def _is_heeded(self, page: Page, date: DateField, middle: datetime) -> bool:
        """True where the answer begins at the middle, and lacks nothing that it should have."""
        given = [date.of(record) for record in page.records]
        if not given or any(value is None for value in given):
            return False
        known = [value for value in date.values if value is not None]
        earliest = min(value for value in given if value is not None)
        floors = (_floor(middle, grain) for grain in GRAINS)
        floor = next((start for start in floors if earliest >= start), None)
        if floor is None or min(known) >= floor or self._is_by_another(page, date, middle):
            return False
        if page.received >= len(self._records):
            return True
        mine = {msgspec.json.encode(record) for record in page.records}
        later = [r for r, v in zip(self._records, date.values, strict=True) if v and v > middle]
        wanted = later[: page.received] if date.order == "asc" else later
        return all(msgspec.json.encode(record) in mine for record in wanted)

    def _is_by_another(self, page: Page, date: DateField, middle: datetime) -> bool:
        """True where all is explained by another date, as that of creation, and not by this one."""
        for other in self._dates:
            tells = any(
                mine and its and its < middle < mine
                for mine, its in zip(date.values, other.values, strict=True)
            )
            given = [other.of(record) for record in page.records]
            if tells and all(value is not None and value >= middle for value in given):
                return True
        return False


def names(date: DateField, request: Request) -> list[str]:
    """The parameters to try: those of the URL, those made of the field's name, the common ones."""
    field = str(date.path.steps[-1])
    parts = [word for word in words(field) if word not in {"at", "on", "time", "date"}]
    made = [
        like(field, [*parts, "after"]), like(field, [*parts, "since"]), f"{field}[gte]",
        f"{field}__gte", f"{field}_gte", f"filter[{field}][gte]",
        like(field, [*words(field), "min"]), like(field, [*words(field), "after"]),
    ]  # fmt: skip
    is_changed = date.role == "changed"
    common = vocabulary.CHANGED_PARAMS if is_changed else vocabulary.CREATED_PARAMS
    given = [name for name, _ in request.params if set(words(name)) & vocabulary.FROM_WORDS]
    return list(dict.fromkeys([*given, *common[:FIRST_GROUP], *made, *common]))


def _instants(date: DateField) -> list[datetime]:
    """Instants from the middle of the records: earlier and later ones are there."""
    known = sorted({value for value in date.values if value is not None})
    if len(known) < 2:
        return []
    return known[len(known) * 3 // 10 : len(known) * 7 // 10] or [known[len(known) // 2]]


def _shared_out(wanted: Sequence[str], instants: Sequence[datetime]) -> dict[str, datetime]:
    """An instant for each name, far from each other; names share one where they are few."""
    return {name: instants[n * len(instants) // len(wanted)] for n, name in enumerate(wanted)}


def _earliest(date: DateField, page: Page) -> datetime | None:
    given = [value for record in page.records if (value := date.of(record)) is not None]
    return min(given, default=None)


def _floor(instant: datetime, grain: timedelta) -> datetime:
    if not grain:
        return instant
    start = datetime.min.replace(tzinfo=instant.tzinfo)
    return instant - (instant - start) % grain
