"""The pages of one walk, the next one fetched while the caller works on the present one."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

import msgspec

from tap_saas.client.client import Client
from tap_saas.client.patience import AgainError
from tap_saas.client.sender import Where
from tap_saas.connector.auth import Auth, Key, Select
from tap_saas.connector.decode import Decoded
from tap_saas.connector.exchange import Page, PageToken, Request, Response
from tap_saas.connector.links import without_params
from tap_saas.connector.paginator import FirstPage
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.responses import Verdict
from tap_saas.errors import ApiError

log = logging.getLogger(__name__)

Decode = Callable[[Response], Decoded]
REMEMBERED = 100_000  # page tokens of a walk, about 10 MB
CLOSE_S = 5.0


class SkipPartition(Exception):  # noqa: N818 - a verdict, no error
    """The API's answer means that this partition is left out; `verdict` says by which rule."""

    def __init__(self, verdict: Verdict, response: Response) -> None:
        self.verdict = verdict
        words = f": {verdict.message}" if verdict.message else ""
        super().__init__(f"status {response.status}{words}")


class RestartPass(Exception):  # noqa: N818 - a verdict, no error
    """The API's answer means that the pass begins again from its watermark."""


def walk(
    client: Client,
    stream: RecordsForm,
    request: Request,
    *,
    token: PageToken | None,
    decode: Decode,
    where: Where,
    ahead_bytes: int,
) -> Iterator[Page]:
    """The pages of a list, from a page token or from the first page, in order.

    While the caller works on a page, the next one is fetched in a thread, unless the page is larger
    than `ahead_bytes`: so at most two pages are in memory. What the thread raises is raised here
    in its turn. Closing the iterator ends the thread.

    Raises:
        ApiError: the list cannot be walked: it goes round in circles, or as `client.send` raises.
        SkipPartition, RestartPass: the verdict about a page.
    """
    fetcher = _Fetcher(client, stream, request, decode, where)
    ahead = _Ahead(fetcher.fetch)
    try:
        page = fetcher.fetch(token)
        while page is not None:
            following = page.next_token
            is_ahead = following is not None and len(page.response.body) <= ahead_bytes
            if is_ahead:
                ahead.start(following)
            yield fetcher.given(page)
            if following is None:
                return
            page = ahead.result() if is_ahead else fetcher.fetch(following)
    finally:
        ahead.close()


class _Fetcher:
    """Fetches the pages of one walk, one after the other."""

    def __init__(
        self, client: Client, stream: RecordsForm, request: Request, decode: Decode, where: Where
    ) -> None:
        self._client = client
        self._stream = stream
        self._paginator = stream.pagination
        self._request = request
        self._decode = decode
        self._where = where
        self._guard = _Guard()
        self._number = 0
        self._first: FirstPage | None = None
        self._secret_params = _params_of_keys(stream.auth)
        once = msgspec.structs.replace(stream.retry, attempts=1)
        self._once = msgspec.structs.replace(stream, retry=once)

    def fetch(self, token: PageToken | None) -> Page | None:
        """The page of a token, None where the API says that there is none."""
        self._number += 1
        self._guard.token(self._paginator.own(token), self._fail)
        page = self._send(token)
        if page is None:
            return None
        first = self._first = self._first or FirstPage(page.received)
        try:
            following = self._paginator.next_token(page, first)
        except ApiError as error:
            raise self._placed(error, page.response) from error
        if following is not None:
            self._guard.page(page, self._fail)
        elif not (self._paginator.is_over(page, first) or self._paginator.says_end(page.response)):
            self._warn_of_full_page(page)
        return msgspec.structs.replace(
            page, next_token=_without_secrets(following, self._secret_params)
        )

    def given(self, page: Page) -> Page:
        """The page as its caller may keep it: a token that works once is no place to resume at."""
        if self._paginator.is_consuming:
            return msgspec.structs.replace(page, next_token=None)
        return page

    def _send(self, token: PageToken | None) -> Page | None:
        where = msgspec.structs.replace(
            self._where, page=self._number, page_token=None if token is None else _text(token)
        )
        request = self._paginator.apply(self._request, token)
        is_spent = token is not None and self._paginator.is_consuming
        try:
            outcome = self._client.send(
                self._once if is_spent else self._stream, request, where=where, decode=self._decode
            )
        except ApiError as error:
            if is_spent and isinstance(error.__cause__, AgainError):
                raise RestartPass(str(error)) from error
            raise
        match outcome.verdict.then:
            case "done":
                return None
            case "skip":
                raise SkipPartition(outcome.verdict, outcome.response)
            case "restart":
                raise RestartPass(outcome.verdict.message or f"status {outcome.response.status}")
        decoded: Decoded = outcome.decoded
        return Page(
            number=self._number,
            token=token,
            response=outcome.response,
            records=decoded.records,
            received=len(decoded.records),
            lane=decoded.lane,
        )

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

    def _fail(self, what: str) -> ApiError:
        return self._placed(ApiError(what, do="check pagination of the stream"), None)

    def _placed(self, error: ApiError, response: Response | None) -> ApiError:
        """The error with the stream, partition, page and request that it is about."""
        return ApiError(
            error.what,
            do=error.do,
            stream=self._where.stream,
            partition=self._where.partition,
            page=self._number,
            status=None if response is None else response.status,
            request_id=None if response is None else response.request_id,
        )


def _text(token: PageToken) -> str:
    return token if isinstance(token, str) else json.dumps(token)


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


def _without_secrets(token: PageToken | None, names: frozenset[str]) -> PageToken | None:
    """A next link without the credentials that the API echoes: they are added when it is sent."""
    if not names:
        return token
    if isinstance(token, list) and token:
        return [_without_secrets(token[0], names), *token[1:]]
    if isinstance(token, str) and token.startswith(("http://", "https://")):
        return without_params(token, names)
    return token


class _Guard:
    """Notices a walk that goes round in circles; remembers a bounded number of tokens."""

    def __init__(self) -> None:
        self._tokens: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._body = b""

    def token(self, token: PageToken | None, fail: Callable[[str], ApiError]) -> None:
        """Raises ApiError for a page token that this walk has asked with before."""
        text = json.dumps(token, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        if digest in self._tokens:
            raise fail(f"the page token {_text(token)[:80]!r} comes again: the list never ends")
        self._tokens.add(digest)
        self._order.append(digest)
        if len(self._order) > REMEMBERED:
            self._tokens.discard(self._order.popleft())

    def page(self, page: Page, fail: Callable[[str], ApiError]) -> None:
        """Raises ApiError for a page that is, byte by byte, the one before."""
        # The caller works on the page before, so that its body is in memory anyway.
        if page.received and page.response.body == self._body:
            raise fail("the page is the same as the one before: the list never ends")
        self._body = page.response.body


class _Ahead:
    """One call at a time in a thread of its own, which is made when it is first needed."""

    def __init__(self, call: Callable[[PageToken], Page | None]) -> None:
        self._call = call
        self._asked: SimpleQueue[PageToken | None] = SimpleQueue()
        self._answers: SimpleQueue[Page | BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, token: PageToken) -> None:
        """Begin to fetch; one `result` belongs to each `start`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pager", daemon=True)
            self._thread.start()
        self._asked.put(token)

    def result(self) -> Page | None:
        """What the call gave; raises what it raised."""
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the thread after the request in flight.

        One that waits for its budget or its retry may take an hour: it is not waited for, and what
        it brings is thrown away.
        """
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (token := self._asked.get()) is not None:
            try:
                self._answers.put(self._call(token))
            except BaseException as error:  # noqa: BLE001 - raised again by `result`
                self._answers.put(error)
