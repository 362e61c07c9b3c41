"""A connector for a list that nobody has described: asked, looked at, tried, written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tap_saas.authoring import dates, fields_seen, keys, limits, lists, vocabulary
from tap_saas.authoring.address import Address
from tap_saas.authoring.asking import Asker
from tap_saas.authoring.dates import DateField
from tap_saas.authoring.filters import Filter, Filters
from tap_saas.authoring.keys import Key
from tap_saas.authoring.limits import Limits
from tap_saas.authoring.lists import Listing
from tap_saas.authoring.naming import identifier, words
from tap_saas.authoring.walking import Walk, Walker
from tap_saas.connector.exchange import Page, Request, Response
from tap_saas.connector.responses import html_page
from tap_saas.errors import ApiError

KEPT_FOR_FILTERS = 5


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a list.

    `untried` are the questions for which no request was left.
    """

    address: Address
    listing: Listing
    other_lists: list[str]
    key: Key
    walk: Walk
    dates: list[DateField]
    filter: Filter | None
    limits: Limits
    fields: dict[str, str]
    records_seen: int
    requests: int
    untried: list[str]


def guess(address: Address, most: int, tell: Callable[[str], None]) -> Guess:
    """Ask for the list, its second page, smaller pages and what changed: `most` requests at most.

    Raises:
        CredentialError: the API refuses who asks.
        ApiError: the answer is no list of records.
    """
    with Asker(address, most, tell) as asker:
        request = address.request()
        response = asker.first(request)
        listing, *others = found(response, address.shown, address.stream)
        address = named(address, listing)
        key = keys.find(listing.records, address.stream)[0]
        first = Page(
            number=1, token=None, response=response, records=listing.records,
            received=len(listing.records),
        )  # fmt: skip
        asker.held = min(KEPT_FOR_FILTERS, most // 3)
        walk = Walker(asker, request, listing, first, key).find()
        asker.held = 0
        records = walk.records
        known = dates.find(records)
        return Guess(
            address=address,
            listing=listing,
            other_lists=[other.described() for other in others if other.records],
            key=keys.find(records, address.stream)[0],
            walk=walk,
            dates=known,
            filter=_filter(asker, request, walk, listing, known),
            limits=limits.find(response.headers),
            fields=fields_seen.find(records, known),
            records_seen=len(records),
            requests=asker.sent,
            untried=list(dict.fromkeys(asker.denied)),
        )


def named(address: Address, listing: Listing) -> Address:
    """The stream named as its list is, where the path has that word as well."""
    name = identifier(str(listing.at.steps[-1]), "") if listing.at.steps else ""
    if address.is_named or name in vocabulary.LISTS or name not in words(address.shown):
        return address
    return msgspec.structs.replace(address, stream=name)


def found(response: Response, url: str, stream: str) -> list[Listing]:
    """The lists of records of an answer, the likeliest first.

    Raises:
        ApiError: it is no JSON, it holds no list, or only empty ones.
    """
    page = html_page(response.body)
    if page is not None:
        raise ApiError(f"{page}, not JSON", where=url, do="give the address of the API itself")
    try:
        document = response.document.value
    except ValueError as error:
        what = "the body is empty" if not response.body else "the body is not JSON"
        raise ApiError(what, where=url, do="give the address of a list in JSON") from error
    listings = lists.find(document, stream)
    if not listings:
        raise ApiError(
            f"no list of objects in the answer: {_described(document)}",
            where=url,
            do="give the address of a list",
        )
    if not listings[0].records:
        raise ApiError(
            f"the list at {listings[0].at} is empty",
            where=url,
            do="give an address whose answer holds some records: other parameters, other rights",
        )
    return listings


def _described(document: Any) -> str:
    if isinstance(document, dict):
        return f"it has {', '.join(list(document)[:10])}" if document else "it is an empty object"
    return f"it is a {type(document).__name__}" if document is not None else "it is null"


def _filter(
    asker: Asker,
    request: Request,
    walk: Walk,
    listing: Listing,
    known: Sequence[DateField],
) -> Filter | None:
    """The filter, asked for as the walk asks for its first page."""

    def ask(filtered: Request, why: str) -> tuple[Page | None, bool]:
        page = asker.page(walk.model.apply(filtered, None), listing, why)
        return page, asker.is_refused

    return Filters(ask, request, known, walk.records).find()
