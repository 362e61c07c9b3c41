"""From page to page of a list whose pages say where the next one is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tap_saas.client.capped import Limit
from tap_saas.client.circles import Circles
from tap_saas.client.sender import Where
from tap_saas.client.spot import Spot
from tap_saas.connector.auth import Auth, Key, Select
from tap_saas.connector.exchange import Page, PageToken, Response
from tap_saas.connector.links import without_params
from tap_saas.connector.paginator import FirstPage
from tap_saas.connector.records_form import RecordsForm
from tap_saas.errors import ApiError

log = logging.getLogger(__name__)


class Steps:
    """Where a walk stands, and where each page leads it.

    `spot` is the page to ask for next, None at the end; `number` is what that page will be. `take`
    is told every page in turn; `ahead` tells what may be asked for meanwhile. `bears_secret` tells
    of a text that must not be kept.
    """

    def __init__(
        self,
        form: RecordsForm,
        token: PageToken | None,
        where: Where,
        bears_secret: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._paginator, self._where = form.pagination, where
        self._secret_params, self._bears_secret = _params_of_keys(form.auth), bears_secret
        self._limit = Limit(form.pagination)
        self._circles = Circles()
        self._first: FirstPage | None = None
        self._asked = token
        self.spot: Spot | None = Spot.of(token)
        self.number = 1

    def admit(self, spot: Spot) -> None:
        """Refuse a page that leads in circles, or beyond what the API shows.

        Raises:
            ApiError: as said; OverCapError for the latter.
        """
        self._limit.admit(spot.records, self._first)
        self._circles.token(self._paginator.own(spot.token), self.fail)

    def take(self, page: Page | None) -> Page | None:
        """The page as it is given on; None where there is none to give.

        Raises:
            ApiError: the walk cannot go on.
        """
        if page is None:
            self.spot = None
            return None
        spot = self._here
        following = self._following(page)
        records = spot.records + page.received
        if self._limit.judge(page, records, is_last=following is None):
            following, records = spot.token, self._limit.beyond
        self.spot = None if following is None else Spot(following, records)
        return self._given(page)

    def ahead(self, page: Page) -> Iterator[PageToken]:
        """The tokens of the pages that follow, as far as they are known."""
        if self.spot is not None and self._is_admitted(self.spot):
            yield self.spot.token

    @property
    def _here(self) -> Spot:
        assert self.spot is not None, "only asked for while there is a page to come"
        return self.spot

    def _is_admitted(self, spot: Spot) -> bool:
        try:
            self._limit.admit(spot.records, self._first)
        except ApiError:
            return False
        return True

    def _following(self, page: Page) -> PageToken | None:
        """The list's own token after a page, None after the last."""
        first = self._first = self._first or FirstPage(page.received)
        try:
            following = self._paginator.next_token(page, first)
        except ApiError as error:
            raise self.placed(error, page.response) from error
        if following is not None:
            self._circles.page(page, self.fail)
        elif not (self._paginator.is_over(page, first) or self._paginator.says_end(page.response)):
            self._warn_of_full_page(page)
        return self._without_secrets(following)

    def _without_secrets(self, token: PageToken | None) -> PageToken | None:
        """A next link without the credentials that the API echoes: each request is signed anew."""
        if isinstance(token, list) and token:
            return [self._without_secrets(token[0]), *token[1:]]
        if isinstance(token, str) and token.startswith(("http://", "https://")):
            names, bears = self._secret_params, self._bears_secret
            return without_params(token, lambda name, value: name in names or bears(value))
        return token

    def _given(self, page: Page) -> Page:
        """The page with the tokens that its caller may keep."""
        given = msgspec.structs.replace(page, token=self._asked, next_token=self._kept())
        self._asked = given.next_token
        self.number += 1
        return given

    def _kept(self) -> PageToken | None:
        if self.spot is None:
            return None
        if self._paginator.is_consuming or self._bears_secret(json.dumps(self.spot.token)):
            # A token that works once, or that STATE must not hold, is no place to go on at: the
            # walk begins again.
            return Spot().kept
        return self.spot.kept if self._limit.is_set else self.spot.token

    def _warn_of_full_page(self, page: Page) -> None:
        expected = self._paginator.expected
        if expected is not None and page.received >= expected:
            log.warning(
                "%s: page %d is full (%d records) and names no next page; "
                "if the list goes on, check pagination of the stream",
                self._where.stream,
                page.number,
                page.received,
            )

    def fail(self, what: str) -> ApiError:
        """The error for a list that cannot be walked as its connector says."""
        return self.placed(ApiError(what, do="check pagination of the stream"), None)

    def placed(self, error: ApiError, response: Response | None) -> ApiError:
        """The error with the stream, partition, page and request that it is about."""
        return ApiError(
            error.what,
            do=error.do,
            stream=self._where.stream,
            partition=self._where.partition,
            page=self.number,
            status=None if response is None else response.status,
            request_id=None if response is None else response.request_id,
        )


def _params_of_keys(auth: Sequence[Auth]) -> frozenset[str]:
    """The parameters that carry a credential, whichever branch of a `select` is taken."""
    names: set[str] = set()
    for scheme in auth:
        if isinstance(scheme, Key) and scheme.send.startswith("param:"):
            names.add(scheme.send.removeprefix("param:"))
        elif isinstance(scheme, Select):
            for branch in scheme.of.values():
                names |= _params_of_keys(branch if isinstance(branch, list) else [branch])
    return frozenset(names)
