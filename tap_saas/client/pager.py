"""The pages of one walk, the next ones fetched while the caller works on the present one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import msgspec

from tap_saas.client.ahead import Ahead
from tap_saas.client.capped import OverCapError
from tap_saas.client.circles import token_text
from tap_saas.client.client import Client
from tap_saas.client.moving import Counted
from tap_saas.client.patience import AgainError
from tap_saas.client.sender import Where
from tap_saas.client.steps import Steps
from tap_saas.connector.decode import Decoded
from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.connector.paginator import Paginator
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.responses import Verdict
from tap_saas.errors import ApiError

__all__ = ["AT_ONCE", "OverCapError", "RestartPass", "SkipPartition", "walk"]

Decode = Callable[[Response], Decoded]
AT_ONCE = 8  # pages, where `parallel: true` leaves it to the budgets
# What APIs answer to a cursor that they no longer know.
_FORGOTTEN = (400, 404, 410, 422)


class SkipPartition(Exception):  # noqa: N818 - a verdict, no error
    """The API's answer means that this partition is left out; `verdict` says by which rule."""

    def __init__(self, verdict: Verdict, response: Response) -> None:
        self.verdict = verdict
        words = f": {verdict.message}" if verdict.message else ""
        super().__init__(f"status {response.status}{words}")


class RestartPass(Exception):  # noqa: N818 - a verdict, no error
    """The API's answer means that the pass begins again from its watermark.

    `verdict` says by which rule; it is None for a cursor that works once, and failed.
    """

    def __init__(self, words: str, verdict: Verdict | None = None) -> None:
        self.verdict = verdict
        super().__init__(words)


def walk(
    client: Client,
    stream: RecordsForm,
    request: Request,
    *,
    token: PageToken | None,
    decode: Decode,
    where: Where,
    ahead_bytes: int,
    rereads_head: bool = False,
) -> Iterator[Page]:
    """The pages of a list, from a page token or from the first page, in order.

    While the caller works on a page, the next one is fetched in a thread; with `parallel` as many
    as that says, where they are known. Those that wait hold at most `ahead_bytes`. What a thread
    raises is raised here in its turn. Closing the iterator ends the threads. `rereads_head` is for
    full passes: see `moving.Counted`.

    Raises:
        ApiError: the list cannot be walked: it goes round in circles, or as `client.send` raises.
        OverCapError: the API shows only a part of the list.
        PageTokenExpiredError: the place of the page token cannot be found again.
        SkipPartition, RestartPass: the verdict about a page.
    """
    steps = _steps(client, stream, token, where, rereads_head)
    stop = client.walk_stop()
    fetcher = _Fetcher(client, stream, request, decode, where, stop)
    ahead = Ahead(fetcher.fetch, width(stream.pagination), ahead_bytes)
    try:
        while steps.spot is not None:
            steps.admit(steps.spot)
            fetched = ahead.take(steps.spot.token, steps.number)
            page = steps.take(fetched)
            if page is None or fetched is None:
                continue
            ahead.expect(steps.ahead(fetched), steps.number)
            yield page
    except OverCapError as error:
        error.stream, error.partition = where.stream, where.partition
        error.args = (str(error),)
        raise
    finally:
        stop.set()
        ahead.close()


def _steps(
    client: Client,
    form: RecordsForm,
    token: PageToken | None,
    where: Where,
    rereads_head: bool,
) -> Steps:
    if not form.pagination.is_counted:
        return Steps(form, token, where, client.bears_secret)
    return Counted(
        form,
        token,
        where,
        rereads_head=rereads_head,
        tell=lambda what: client.tell(where, what),
    )


def width(paginator: Paginator) -> int:
    """How many pages may be asked for at once."""
    parallel = getattr(paginator, "parallel", False)
    if isinstance(parallel, bool):
        return AT_ONCE if parallel else 1
    return int(parallel)


class _Fetcher:
    """Fetches single pages of one walk. Thread-safe."""

    def __init__(
        self,
        client: Client,
        stream: RecordsForm,
        request: Request,
        decode: Decode,
        where: Where,
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._stop = stop
        self._stream = stream
        self._paginator = stream.pagination
        self._request = request
        self._decode = decode
        self._where = where
        once = msgspec.structs.replace(stream.retry, attempts=1)
        self._once = msgspec.structs.replace(stream, retry=once)

    def fetch(self, token: PageToken | None, number: int) -> Page | None:
        """The page of a list's own token, None where the API says that there is none."""
        where = msgspec.structs.replace(
            self._where, page=number, page_token=None if token is None else token_text(token)
        )
        request = self._paginator.apply(self._request, token)
        is_spent = token is not None and self._paginator.is_consuming
        try:
            outcome = self._client.send(
                self._once if is_spent else self._stream,
                request,
                where=where,
                decode=self._decode,
                stop=self._stop,
            )
        except ApiError as error:
            is_lost = isinstance(error.__cause__, AgainError) or error.status in _FORGOTTEN
            if is_spent and is_lost:
                raise RestartPass(str(error)) from error
            raise
        match outcome.verdict.then:
            case "done":
                return None
            case "skip":
                raise SkipPartition(outcome.verdict, outcome.response)
            case "restart":
                words = outcome.verdict.message or f"status {outcome.response.status}"
                raise RestartPass(words, outcome.verdict)
        decoded: Decoded = outcome.decoded
        return Page(
            number=number,
            token=token,
            response=outcome.response,
            records=decoded.records,
            received=len(decoded.records),
            lane=decoded.lane,
        )
