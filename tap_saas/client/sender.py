"""One request on its way: within its budgets, signed, redirects followed, counted and logged."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import msgspec

from tap_saas.client.limiter import Buckets, Limiter, RequestsSpentError
from tap_saas.client.login import Login, Options
from tap_saas.client.patience import AgainError, Patience, Say
from tap_saas.client.session import Transport, canonical
from tap_saas.client.stores.bucket import Claim
from tap_saas.connector.exchange import Request, Response
from tap_saas.connector.responses import status_text
from tap_saas.connector.token import Token
from tap_saas.errors import ApiError, RetryableError
from tap_saas.redact import Redactor
from tap_saas.report import Report

logger = logging.getLogger(__name__)

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
# The stream of a request that belongs to none, as the one that proves the credentials.
NO_STREAM = "_check"


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What log lines and errors name, and the partition's values (`context`)."""

    stream: str | None = None
    partition: str | None = None
    page: int | None = None
    page_token: str | None = None
    context: Mapping[str, Any] = {}

    def label(self, connector: str) -> str:
        """`orders: partition eu: page 40`, as errors have it."""
        parts = [self.stream or connector]
        if self.partition:
            parts.append(f"partition {self.partition}")
        if self.page is not None:
            parts.append(f"page {self.page}")
        return ": ".join(parts)


class Job(msgspec.Struct, kw_only=True):
    """A request, how it is sent and who asks; `buckets` are those of its last try.

    `stop` ends its waits.
    A request for a token takes no lease of `concurrent`: whoever has one may wait for the token.
    """

    options: Options
    request: Request
    where: Where
    login: Login
    patience: Patience
    stop: threading.Event
    proxy: str | None
    is_leased: bool = True
    buckets: Buckets = ()


class Sender:
    """Sends jobs, one try at a time, and no more requests than `most`. Thread-safe."""

    def __init__(
        self,
        transport: Transport,
        limiter: Limiter,
        report: Report,
        *,
        most: int | None,
        deadline: float | None,
        redactor: Redactor,
        say: Say,
    ) -> None:
        self._transport = transport
        self._limiter = limiter
        self._report = report
        self._most = most
        self._numbers = itertools.count(1)
        self._deadline = deadline
        self._redactor = redactor
        self._say = say

    def follow(self, job: Job, token: Token | None) -> tuple[Response, Token | None]:
        """The answer behind all redirects, and the token that was used last.

        Raises:
            AgainError: No whole answer came.
            ApiError: Too many redirects, or one from https to http.
            RequestsSpentError: It would be one request more than the run may make.
        """
        request = job.request
        for _ in range(MOST_REDIRECTS + 1):
            response, token = self._exchange(job, request, token)
            target = _redirect(request, response)
            if target is None:
                return response, token
            request = request.with_url(target)
        raise ApiError(
            f"{status_text(response.status)}: redirected more than {MOST_REDIRECTS} times",
            do="check base_url and path",
            status=response.status,
            request_id=response.request_id,
        )

    def _exchange(
        self, job: Job, request: Request, token: Token | None
    ) -> tuple[Response, Token | None]:
        """One request within its budgets; a token that died waiting for them is renewed."""
        path = below(request.url, job.login.base_url(token))
        values = job.login.values(token)
        if self._most is not None and next(self._numbers) > self._most:
            raise RequestsSpentError(self._most)
        buckets = self._limiter.buckets(job.options.budgets, request.method, path, values)
        job.buckets = buckets if job.is_leased else tuple(map(_without_lease, buckets))
        with self._limiter.slot(
            job.buckets, stop=job.stop, deadline=self._deadline, on_wait=job.patience.waiting
        ) as slot:
            job.patience.granted(slot)
            token = job.login.token(admitted=True)
            response = self._fetch(job, request, job.login.sign(request, token))
            self._limiter.learn(slot, response)
        return response, token

    def _fetch(self, job: Job, request: Request, signed: Request) -> Response:
        """The answer of a signed request, counted and logged; no secret is in its url and id."""
        tries = job.patience.tries
        began = time.monotonic()
        response = None
        try:
            response = self._transport.fetch(signed, job.options.http, proxy=job.proxy, tries=tries)
        except RetryableError as error:
            raise AgainError(error.what, kind="no_answer", buckets=job.buckets) from error
        finally:
            self._report.requested(
                job.where.stream or NO_STREAM,
                retry=tries > 1,
                status=None if response is None else response.status,
            )
            self._trace(job, request, response, time.monotonic() - began)
        shown = response.request_id and self._redactor.mask(response.request_id)
        return msgspec.structs.replace(response, url=request.url, request_id=shown)

    def _trace(
        self, job: Job, request: Request, response: Response | None, duration_s: float
    ) -> None:
        """The one DEBUG line of a request."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        fields = {
            "stream": job.where.stream,
            "partition": job.where.partition,
            "page": job.where.page,
            "page_token": job.where.page_token,
            "request_id": None if response is None else response.request_id,
            "status": None if response is None else response.status,
            "duration_s": f"{duration_s:.3f}",
            "tries": job.patience.tries,
        }
        told = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        self._say(logging.DEBUG, f"{request.method} {request.url.partition('?')[0]} {told}")


def _without_lease(claim: Claim) -> Claim:
    return msgspec.structs.replace(claim, concurrent=None)


def below(url: str, base_url: str) -> str:
    """The path after `base_url`, without the query; the whole address where it is elsewhere."""
    address = url.partition("?")[0]
    base = base_url.rstrip("/")
    return address[len(base) :] if base and address.startswith(f"{base}/") else address


def _redirect(request: Request, response: Response) -> str | None:
    """Where an answer sends a GET (RFC 9110 section 15.4); None where it is an answer.

    Raises:
        ApiError: From https to plain http.
    """
    location = response.headers.get("Location")
    if response.status not in REDIRECTS or request.method not in {"GET", "HEAD"} or not location:
        return None
    with suppress(ValueError):
        location = urljoin(response.url, location)
    target = canonical(location)
    if request.url.startswith("https:") and target.startswith("http:"):
        raise ApiError(
            f"{status_text(response.status)}: redirected from https to plain http",
            do="check base_url",
            status=response.status,
            request_id=response.request_id,
        )
    return target
