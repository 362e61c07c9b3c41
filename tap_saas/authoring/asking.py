"""The few requests of a guess: by the tap's own client, counted, told, never too many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from tap_saas.authoring.address import Address
from tap_saas.authoring.lists import Listing
from tap_saas.client.client import Client, Where
from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.errors import ApiError, CredentialError
from tap_saas.redact import Redactor
from tap_saas.report import Report

MOST_SHOWN, LONGEST_SHOWN = 4, 32


class Asker:
    """Sends requests to one API, `most` of them at most; `tell` gets a line about each.

    `held` requests are kept back for later; `denied` are the questions for which none were left.
    """

    def __init__(self, address: Address, most: int, tell: Callable[[str], None]) -> None:
        self._most = most
        self._tell = tell
        self._redactor = Redactor(address.values.values())
        self._report = Report("guess", self._redactor)
        self._client = Client(
            address.connector(),
            address.values,
            home=None,
            stop=threading.Event(),
            report=self._report,
            redactor=self._redactor,
        )
        self.held = 0
        self.denied: list[str] = []
        self.is_refused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._client.close()

    @property
    def sent(self) -> int:
        """How many requests were sent, tries again included."""
        return self._report.requests

    @property
    def left(self) -> int:
        """How many may still be sent now."""
        return self._most - self.held - self.sent

    def first(self, request: Request) -> Response:
        """The answer of the list itself.

        Raises:
            CredentialError: the API refuses who asks.
            ApiError: it answers wrongly, or not at all.
        """
        try:
            response = self._client.send(None, request, where=Where()).response
        except CredentialError as error:
            error.do = "give --bearer VARIABLE, --basic USER:PASSWORD or --header NAME=VALUE"
            raise
        except ApiError as error:
            error.do = "check the address"
            raise
        self._say(request, "the list")
        return response

    def page(
        self, request: Request, listing: Listing, why: str, token: PageToken | None = None
    ) -> Page | None:
        """A page at the same place as the first; `None` where the API refuses or has none there."""
        if self.left < 1:
            self.denied.append(why)
            return None
        try:
            response = self._client.send(None, request, where=Where()).response
        except (ApiError, CredentialError) as error:
            self.is_refused = True
            status = "no answer" if error.status is None else f"status {error.status}"
            self._say(request, f"{why}: {status}")
            return None
        self.is_refused = False
        records = listing.read(response)
        if records is None:
            self._say(request, f"{why}: no list at {listing.at}")
            return None
        self._say(request, f"{why}: {len(records)} records")
        return Page(
            number=1, token=token, response=response, records=records, received=len(records)
        )

    def _say(self, request: Request, what: str) -> None:
        """A line about a request, as it was before it was signed."""
        parts = urlsplit(request.url)
        pairs = [*parse_qsl(parts.query), *request.params]
        query = "&".join(f"{name}={_short(value)}" for name, value in pairs[:MOST_SHOWN])
        more = "&..." if len(pairs) > MOST_SHOWN else ""
        shown = f"{parts.path}?{query}{more}" if query else parts.path
        self._tell(self._redactor.mask(f"{self.sent:3} GET {shown}  {what}"))


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}..."
