"""From page to page of a list that is counted, by page number or offset, and moves meanwhile.

What is added or removed before a page moves records from page to page. Two pages that share an
untouched record have between them all the untouched ones around it, whenever each was read: so
pages overlap, and one that shares no record with the page before is thrown away and asked for from
further back. Page numbers cannot overlap. There, a `total` that shrank is a hint that records were
missed, and the list is read once more; where a walk is resumed, the page before comes first. Pages
that are asked for at once may be answered in another order: then a total that grew is such a hint,
and a record that came to the head though it is not new.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from tap_saas.client.circles import Circles
from tap_saas.client.sender import Where
from tap_saas.client.spot import KEPT, Spot, key_of
from tap_saas.client.steps import Steps
from tap_saas.connector.exchange import Page, PageToken
from tap_saas.connector.model import Stream
from tap_saas.connector.paginator import FirstPage
from tap_saas.connector.records_form import RecordsForm
from tap_saas.errors import ApiError, PageTokenExpiredError

log = logging.getLogger(__name__)
MAX_BACKS = 3  # in a row, without a page that ends with a record that the page before had not
LOST = "list_shrank"


class Counted(Steps):
    """The steps of a counted list.

    `rereads_head` asks for its first page again at the end, until it meets what was there at the
    beginning: records that changed may have moved there unread. `tell` is told what the report
    should say.
    """

    def __init__(
        self,
        form: RecordsForm,
        token: PageToken | None,
        where: Where,
        *,
        rereads_head: bool,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(form, token, where)
        self._key = key_of(form)
        self._tell = tell
        self._may_move = _may_move_to_head(form)
        self._rereads_head = rereads_head and self._may_move
        self._overlaps = form.pagination.overlapping > 0
        self._backs = self._more_overlap = self._furthest = 0
        self._came = 0  # records that have come to the head meanwhile
        self._end = -1  # where a page that was thrown away showed the list's end to be
        self._resumes = False
        self._totals = Totals(
            None if self.spot is None else self.spot.total, grows_at_head=self._may_move
        )
        self._is_again = self.spot is not None and self.spot.turn == "again"
        if self.spot is not None:
            self._begin(self.spot)

    def _begin(self, spot: Spot) -> None:
        """Where a page cannot overlap, a resumed walk has to find its place again."""
        if spot.token is None or not spot.keys:
            return
        self._resumes = True
        self._furthest = self._paginator.position(spot.token)
        size = self._paginator.expected
        if not self._overlaps and size is not None:
            self.spot = self._moved(spot, size)

    def _moved(self, spot: Spot, records: int) -> Spot:
        """The spot so much further back."""
        token = self._paginator.back(spot.token, records)
        return msgspec.structs.replace(spot, token=token)

    def take(self, page: Page | None) -> Page | None:
        """As `Steps.take`; None for a page that is thrown away, too.

        Raises:
            ApiError: the list moves faster than it can be read.
            PageTokenExpiredError: the place where the walk was left cannot be found again.
        """
        spot = self._here
        if page is None:
            self.spot = self._turned(spot) if spot.turn != "head" else None
            return None
        if spot.turn == "head":
            return self._take_head(spot, page)
        known = self._known(spot, page)
        if known is None:
            self._go_back(spot, page)
            return None
        was_resumed, self._resumes = self._resumes, False
        at = self._paginator.position(spot.token)
        is_again = spot.turn == "again" or at < self._furthest
        self._step(spot, page, at)
        if known == page.received and was_resumed and not self._overlaps:
            return None  # nothing but what was read before the walk was left
        rest = msgspec.structs.replace(page, records=page.records[known:], is_again=is_again)
        return self._given(rest)

    def _known(self, spot: Spot, page: Page) -> int | None:
        """How many records at the page's beginning the page before had; None where the two share
        none though they must.
        """
        if not spot.keys or spot.token is None:
            return 0
        keys = set(spot.keys)
        if not self._overlaps and not self._resumes:
            return 0
        if self._resumes and not self._overlaps:
            return self._known_of_resumed(spot.keys, page)
        known = 0
        while known < len(page.records) and self._key(page.records[known]) in keys:
            known += 1
        if known or any(self._key(record) in keys for record in page.records):
            return known
        return None

    def _known_of_resumed(self, keys: list[str], page: Page) -> int | None:
        """As `_known`, for the page before the one where the walk was left: all of it, where it
        still ends with the same record.
        """
        if page.records and self._key(page.records[-1]) == keys[-1]:
            return page.received
        found = set(keys)
        return 0 if any(self._key(record) in found for record in page.records) else None

    def _step(self, spot: Spot, page: Page, at: int) -> None:
        """Go to the page after this one."""
        paginator = self._paginator
        following = self._following(page)
        first = self._first or FirstPage(page.received)
        self._note_total(page)
        records = spot.records + page.received
        if self._overlaps:
            records = at + page.received
            # It ends where it was seen to end, though its last record changes all the time.
            is_end = records == self._end and page.received < first.received
            following = None if is_end else self._with_overlap(page, following, at)
        if self._limit.judge(page, records, is_last=following is None):
            self.spot = Spot(spot.token, self._limit.beyond)
            return
        shrank = spot.shrank or self._totals.shrank
        after = msgspec.structs.replace(spot, total=self._totals.largest, shrank=shrank)
        if following is None:
            self.spot = self._turned(after)
            return
        position = paginator.position(following)
        self._furthest = max(self._furthest, position)
        keys = self._keys(page.records[-KEPT:])
        if keys and keys[-1] not in spot.keys:
            self._backs = 0
        overlaps = not self._overlaps or position < at + page.received
        self.spot = msgspec.structs.replace(
            after,
            token=following,
            records=records,
            keys=keys if overlaps and first.received else [],
            head=self._head(spot, page),
        )

    def _with_overlap(self, page: Page, following: PageToken, at: int) -> PageToken | None:
        """The next token further back, in a list that has been seen to move."""
        if following is None or not self._more_overlap:
            return following
        most = self._paginator.position(following) - at - 1
        more = min(self._more_overlap, most)
        return self._paginator.back(following, more) if more > 0 else following

    def _keys(self, records: list[Any]) -> list[str]:
        return [self._key(record) for record in records]

    def _head(self, spot: Spot, page: Page) -> list[str]:
        is_first = self._rereads_head and spot.token is None
        return self._keys(page.records[:KEPT]) if is_first else spot.head

    def _go_back(self, spot: Spot, page: Page) -> None:
        """Ask again from a page further back, where the page before can still be."""
        size = self._paginator.expected if self._first is None else self._first.received
        self._backs += 1
        if self._backs > MAX_BACKS or not size:
            raise self._lost()
        log.info(
            "%s: the list has moved: page %d shares no record with the page before; one page back",
            self._where.stream,
            self.number,
        )
        self._circles = Circles()
        if self._overlaps:
            self._end = self._paginator.position(spot.token) + page.received
            self._more_overlap = min(max(2 * self._more_overlap, 1), size // 2)
        self.spot = self._moved(spot, size)

    def _lost(self) -> Exception:
        what = f"the list moves while it is read: no place of it was found again in {MAX_BACKS} "
        if self._resumes:
            return PageTokenExpiredError(f"{what}tries")
        do = "say a larger pagination.overlap, or walk it by cursor or seek if the API has them"
        return self.placed(ApiError(f"{what}restarts", do=do), None)

    def _note_total(self, page: Page) -> None:
        if not self._overlaps:
            self._totals.note(self._paginator.total_in(page.response), page.response.received_at)

    def _turned(self, spot: Spot) -> Spot | None:
        """What is left to do at the end of the list."""
        if self.number == 1 and spot.token is None:
            return None  # one page is one moment: nothing has moved
        self._circles = Circles()
        again = self._once_more(spot) if spot.shrank else None
        return again or (Spot(head=spot.head, turn="head") if spot.head else None)

    def _once_more(self, spot: Spot) -> Spot | None:
        """The list once more, where records may have been missed; None where it has been read so
        already: that is told.
        """
        what = "the list moved while it was read"
        if self._is_again:
            log.warning(
                "%s: %s once more: records may be missing until the next full pass",
                self._where.stream,
                what,
            )
            self._tell(LOST)
            return None
        log.warning(
            "%s: %s, so records may have been missed; it is read once more",
            self._where.stream,
            what,
        )
        self._is_again, self._came = True, 0
        self._circles = Circles()
        self._totals = Totals(None, grows_at_head=self._may_move)
        return Spot(head=spot.head, turn="again")

    def _take_head(self, spot: Spot, page: Page) -> Page | None:
        """The records that have come before those which were the list's first."""
        first = set(spot.head)
        keys = (self._key(record) for record in page.records)
        met = next((at for at, key in enumerate(keys) if key in first), None)
        following = self._following(page) if met is None else None
        self.spot = None if following is None else msgspec.structs.replace(spot, token=following)
        records = page.records[:met]
        self._note_total(page)
        self._came += len(records)
        if self.spot is None and self._came > self._totals.grown and self._totals.is_disordered:
            self.spot = self._once_more(spot)
        if not records:
            return None
        return self._given(msgspec.structs.replace(page, records=records, is_again=True))

    def ahead(self, page: Page) -> Iterator[PageToken]:
        """The tokens of the pages that follow; with `parallel` those up to the end."""
        spot = self.spot
        if spot is None or not self._is_admitted(spot):
            return
        first = self._first
        parallel = getattr(self._paginator, "parallel", False)
        if not parallel or first is None or spot.token is None or self._limit.is_soft:
            yield spot.token
            return
        yield from self._paginator.ahead(page, first, spot.token)

    def _kept(self) -> PageToken | None:
        return None if self.spot is None else self.spot.kept


class Totals:
    """How long a list said it is, by the instants of its answers: pages may come out of order.

    `shrank` is also true where a list that grows at its head grew between two answers that came in
    the wrong order: what the page before lost to the later one is in neither. `is_disordered` says
    that some came so.
    """

    def __init__(self, largest: int | None, *, grows_at_head: bool = False) -> None:
        self.largest, self.shrank, self.is_disordered = largest, False, False
        self._grows_at_head = grows_at_head
        self._largest_at = self._latest_at = self._answered_at = datetime.min.replace(tzinfo=UTC)
        self._latest = largest
        self._first: int | None = None

    @property
    def grown(self) -> int:
        """By how much the list grew since its first page: so many records at its head are new."""
        return 0 if self._latest is None or self._first is None else self._latest - self._first

    def note(self, total: int | None, at: datetime) -> None:
        """A page that came at that instant said so."""
        self.is_disordered = self.is_disordered or at < self._answered_at
        self._answered_at = max(self._answered_at, at)
        if total is None:
            return
        self._first = total if self._first is None else self._first
        if self.largest is None or self._latest is None:
            self.largest = self._latest = total
            self._largest_at = self._latest_at = at
            return
        fell = total < self.largest and at >= self._largest_at
        was_other = total > self._latest or (self._grows_at_head and total < self._latest)
        self.shrank = self.shrank or fell or (was_other and at < self._latest_at)
        if total > self.largest:
            self.largest, self._largest_at = total, at
        if at >= self._latest_at:
            self._latest, self._latest_at = total, at


def _may_move_to_head(form: RecordsForm) -> bool:
    """True unless the list is known to be in ascending order: what changes goes to its end."""
    incremental = form.incremental if isinstance(form, Stream) else None
    return incremental is None or incremental.order != "asc"
