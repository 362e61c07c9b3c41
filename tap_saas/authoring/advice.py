"""What one page of a stream says to whoever writes its connector, in lines to paste."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tap_saas.authoring import dates, keys, limits, lists, paging
from tap_saas.authoring.keys import Key
from tap_saas.authoring.lists import Listing
from tap_saas.authoring.writing import flow
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.model import Stream

LONGEST_VALUE = 40


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen or is missing, and the line of YAML that says it; `at_top` is no stream's."""

    says: str
    paste: str | None = None
    at_top: bool = False

    def lines(self) -> list[str]:
        """What to print."""
        if self.paste is None:
            return [self.says]
        place = "at the top of the file" if self.at_top else "into the stream"
        return [f"{self.says}; {place}:", f"    {self.paste}"]


def listing_of(form: Stream, page: Page) -> Listing:
    """Where the records of a page are, as its stream says it or as it was found."""
    at = form.records
    said = Listing(at=at.at, keyed=at.keyed, header=at.header, records=page.records)
    if said.read(page.response) is not None:
        return elsewhere(form, page.response) or said
    found = lists.find(page.response.document.value, form.name)
    return found[0] if found and found[0].records else said


def elsewhere(form: Stream, response: Response) -> Listing | None:
    """A list inside of an answer which the stream, saying nothing, takes for one record."""
    document = response.document.value
    if form.records.at.steps or not form.records.is_plain or not isinstance(document, dict):
        return None
    found = lists.find(document, form.name)
    return found[0] if found and found[0].records else None


def advice(form: Stream, page: Page, *, is_unfinished: bool) -> list[Advice]:
    """What a page says; `is_unfinished` where the stream has no pagination yet."""
    listing = listing_of(form, page)
    records = [record for record in page.records if isinstance(record, dict)]
    found = keys.find(records, form.name) if records else []
    key = found[0] if found else None
    return [
        *_records(form, listing),
        *_key(form, key, records),
        *_pagination(form, page, listing, key, is_unfinished=is_unfinished),
        *_dates(form, records),
        *_limits(form, page),
    ]


def _records(form: Stream, listing: Listing) -> Iterator[Advice]:
    if listing.at != form.records.at or listing.keyed != form.records.keyed:
        yield Advice(
            says=f"there is no list at {form.records.at}, but {listing.described()}",
            paste=f"records: {flow(listing.form)}",
        )


def _key(form: Stream, key: Key | None, records: Sequence[Mapping[str, Any]]) -> Iterator[Advice]:
    if not records:
        return
    names = list(dict.fromkeys(name for record in records for name in record))
    missing = [
        name
        for name, path in _key_fields(form)
        if not any(path.get(record) not in (None, msgspec.UNSET) for record in records)
    ]
    pasted = None if key is None else f"primary_key: {flow(key.form)}"
    if form.primary_key is None:
        sure = "unique and never null here" if key and not key.hashed else "no field is unique here"
        yield Advice(says=f"missing: a primary key; {sure}", paste=pasted)
    elif missing:
        yield Advice(
            says=f"the key {', '.join(missing)} is not in the records, which have:"
            f" {', '.join(names)}",
            paste=pasted,
        )
    column = form.replication_key
    if column is not None and column not in names and column not in form.columns:
        yield Advice(says=f"the replication key {column} is not in the records")


def _key_fields(form: Stream) -> list[tuple[str, Any]]:
    """The fields of a primary key that come out of the records themselves."""
    paths = form.primary_key if isinstance(form.primary_key, list) else []
    return [(str(p), p) for p in paths if str(p.steps[-1]) not in form.context]


def _pagination(
    form: Stream, page: Page, listing: Listing, key: Key | None, *, is_unfinished: bool
) -> Iterator[Advice]:
    told = paging.read(page.response, listing)
    if not is_unfinished and page.next_token is not None:
        yield Advice(says=f"next page: {page.next_token!r}")
        return
    hint = next(paging.hints(told, page.received, key), None)
    if not is_unfinished:
        last = "next page: none, this is the last"
        if hint is None:
            yield Advice(says=last)
        else:
            says = f"{last}; but the answer has {hint.seen}{_value(told, hint)}"
            yield Advice(says=says, paste=f"pagination: {flow(hint.form)}")
        return
    expected = next(paging.expected(told, key), None)
    if hint is not None:
        says = f"missing: pagination; the answer has {hint.seen}{_value(told, hint)}"
        yield Advice(says=says, paste=f"pagination: {flow(hint.form)}")
    elif expected is not None:
        says = f"missing: pagination; {expected.seen}, as this is the last page"
        yield Advice(says=says, paste=f"pagination: {flow(expected.form)}")
    else:
        says = (
            "missing: pagination; nothing in the answer speaks of a next page (`saasctl guess`"
            " tries the usual ways); if one answer holds all"
        )
        yield Advice(says=says, paste="pagination: {type: single}")


def _value(told: paging.Told, hint: paging.Hint) -> str:
    """What stands at the place that a hint is about."""
    values = {str(path): value for path, value in (*told.links, *told.cursors)}
    value = told.linked if hint.kind == "link_header" else values.get(str(hint.form.get("next")))
    if not isinstance(value, str):
        return ""
    return f" ({value[:LONGEST_VALUE]}{'...' * (len(value) > LONGEST_VALUE)})"


def _dates(form: Stream, records: Sequence[dict[str, Any]]) -> Iterator[Advice]:
    if form.incremental is not None or not records:
        return
    for date in dates.find(records):
        if date.role in {"changed", "created"}:
            words = {"changed": "of the last change", "created": "of the beginning only"}
            format = {} if date.format == "iso8601" else {"format": date.format}
            value = {"key": date.name, **format, "start": {"send": "param:updated_after"}}
            yield Advice(
                says=f"{date.name} is a date {words[date.role]} ({date.format}); if a parameter"
                " filters by it, with its name",
                paste=f"incremental: {flow(value)}",
            )
            return


def _limits(form: Stream, page: Page) -> Iterator[Advice]:
    if form.budgets:
        return
    seen = limits.find(page.response.headers)
    shown = ", ".join(f"{name}: {value[:LONGEST_VALUE]}" for name, value in seen.headers.items())
    if seen.budget is not None:
        pasted = f"budgets: {flow({'seen': seen.budget})}"
        yield Advice(says=f"the API tells its limit ({shown})", paste=pasted, at_top=True)
    elif seen.headers:
        yield Advice(says=f"the API speaks of a limit: {shown}")
