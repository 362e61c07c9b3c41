"""Lists of which an API shows no more than the beginning."""

from __future__ import annotations

from tap_saas.connector.exchange import Page
from tap_saas.connector.paginator import Cap, FirstPage, Paginator
from tap_saas.errors import ApiError

_DO = {
    "split": "only windows of time can read it: neither a full pass nor a sweep can",
    "seek": "only an incremental pass in order of the replication key can read it",
}


class OverCapError(ApiError):
    """The list has more records than the API shows; what it showed may have been read."""

    def __init__(self, cap: Cap) -> None:
        self.cap = cap
        super().__init__(
            f"the list has {cap.records:,} records or more, and the API shows no more of it",
            do=_DO[cap.then],
        )


class Limit:
    """What a `cap` means for one walk; without one nothing is over it."""

    def __init__(self, paginator: Paginator) -> None:
        self._paginator, self._cap = paginator, paginator.cap

    @property
    def is_set(self) -> bool:
        """True where the list has a cap."""
        return self._cap is not None

    @property
    def is_soft(self) -> bool:
        """True where a list is read up to its cap: no page behind that may be asked for."""
        return self._cap is not None and self._cap.then == "seek"

    def admit(self, records: int, first: FirstPage | None) -> None:
        """Refuse to ask for a page behind so many records.

        Raises:
            OverCapError: it would reach beyond what the API shows.
        """
        cap = self._cap
        if cap is None or cap.then == "split" or not records:
            return
        size = self._paginator.expected or 1 if first is None else max(first.received, 1)
        if records + size > cap.records:
            raise OverCapError(cap)

    def judge(self, page: Page, records: int, *, is_last: bool) -> bool:
        """True where the list goes on behind this, its last page; `records` were read with it.

        Raises:
            OverCapError: the list is to be split, and so much of it is not worth reading.
        """
        cap = self._cap
        if cap is None:
            return False
        total = self._paginator.total_in(page.response)
        is_over = (
            records >= cap.records
            or (total is not None and total >= cap.records)
            or self._paginator.is_incomplete(page.response)
        )
        if is_over and cap.then == "split":
            raise OverCapError(cap)
        return is_over and is_last

    @property
    def beyond(self) -> int:
        """A number of records that `admit` refuses to go behind."""
        return 0 if self._cap is None else self._cap.records
