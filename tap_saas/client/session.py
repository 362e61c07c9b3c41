"""One HTTP exchange over the wire: connections, time-outs, proxies, the size of a body."""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import requests
import urllib3

from tap_saas import __version__
from tap_saas.client.cut import Scissors
from tap_saas.client.limiter import StoppedError
from tap_saas.connector.exchange import Headers, Request, Response
from tap_saas.connector.http import HttpOptions
from tap_saas.connector.units import format_duration
from tap_saas.errors import ApiError, ConfigError, RetryableError, TapSaasError

CHUNK = 65_536
# A session is used by one thread at a time, for the API, its token endpoint and a download or two.
HOSTS_A_SESSION = 4

# Who logs in to a proxy: that of the environment is no setting, so nothing else masks it.
_USER = re.compile(r"://[^\s/@]*@")

REQUEST_IDS = (
    "X-Request-Id", "Request-Id", "X-Correlation-Id", "X-Amzn-RequestId", "X-Amz-Request-Id",
    "X-Ms-Request-Id", "X-GitHub-Request-Id", "X-Shopify-Request-Id", "X-Trace-Id", "X-B3-TraceId",
    "Traceparent", "X-Cloud-Trace-Context", "CF-Ray",
)  # fmt: skip


def _without_trace(record: logging.LogRecord) -> bool:
    """urllib3 tells of a header that it cannot read with a trace, and goes on."""
    record.exc_info = None
    return True


logging.getLogger("urllib3.connection").addFilter(_without_trace)


class Transport:
    """Lends a `requests.Session` to each request in flight. Thread-safe.

    Sessions keep no cookies and no credentials of their own (no `.netrc`): a request carries what
    is in it. Proxies and certificates of the environment are honoured.
    """

    def __init__(self, stop: threading.Event, clock: Callable[[], datetime]) -> None:
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[requests.Session] = []
        self._closed = False
        self._scissors = Scissors(stop)

    def fetch(
        self, request: Request, http: HttpOptions, *, proxy: str | None, tries: int
    ) -> Response:
        """The whole answer, its body decompressed.

        Raises:
            RetryableError: No connection, a time-out, or a body that broke off.
            ApiError: A body over `http.max_body`, a certificate that is not trusted.
            ConfigError: Settings of the connection that cannot be used.
            StoppedError: The run was asked to end before the answer was there.
        """
        try:
            with self._lent() as session:
                return self._exchange(session, request, http, proxy, tries)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if self._stop.is_set():
                raise StoppedError from error
            raise _told(error, http) from error
        except UnicodeError as error:
            raise ConfigError("a header holds a letter that no header can carry") from error

    def close(self) -> None:
        """Closes all connections; those in use when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
        self._scissors.close()

    @contextmanager
    def _lent(self) -> Iterator[requests.Session]:
        with self._lock:
            session = self._idle.pop() if self._idle else _new_session(self._scissors)
        try:
            yield session
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(session)
            if self._closed:
                session.close()

    def _exchange(
        self,
        session: requests.Session,
        request: Request,
        http: HttpOptions,
        proxy: str | None,
        tries: int,
    ) -> Response:
        prepared = _prepared(session, request)
        deadline = time.monotonic() + http.timeout.total.total_seconds()
        with _sent(session, prepared, http, proxy) as answer:
            received_at = self._clock()
            body = self._body(answer, http, deadline)
        headers = Headers(answer.headers)
        return Response(
            status=answer.status_code,
            headers=headers,
            body=body,
            url=prepared.url or request.url,
            received_at=received_at,
            request_id=request_id(headers),
            tries=tries,
        )

    def _body(self, answer: requests.Response, http: HttpOptions, deadline: float) -> bytes:
        """The body as it comes: checked at each piece, so that neither size nor time runs away."""
        pieces: list[bytes] = []
        size = 0
        while piece := answer.raw.read1(CHUNK, decode_content=True):
            size += len(piece)
            if size > http.max_body:
                raise ApiError(
                    f"the body is larger than http.max_body ({http.max_body:,} bytes)",
                    do="ask for smaller pages, or raise http.max_body",
                    status=answer.status_code,
                    request_id=request_id(answer.headers),
                )
            if self._stop.is_set():
                raise StoppedError
            if time.monotonic() > deadline:
                total = format_duration(http.timeout.total)
                raise RetryableError(f"no whole answer within {total} (http.timeout.total)")
            pieces.append(piece)
        return b"".join(pieces)


def _sent(
    session: requests.Session,
    prepared: requests.PreparedRequest,
    http: HttpOptions,
    proxy: str | None,
) -> requests.Response:
    """The answer as far as its headers; proxies and certificates also from the environment."""
    url = prepared.url or ""
    proxies = {"http": proxy, "https": proxy} if proxy else {}
    cert = _cert(http)
    settings = session.merge_environment_settings(url, proxies, True, http.ca_file or True, cert)
    read = min(http.timeout.read, http.timeout.total)
    # The adapter, not the session: that keeps cookies, and reads the whole body of a redirect.
    return session.get_adapter(url).send(
        prepared,
        stream=True,
        timeout=(http.timeout.connect.total_seconds(), read.total_seconds()),
        verify=settings["verify"] or True,
        cert=settings["cert"],
        proxies=settings["proxies"],
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    """What the API's support can find the request by."""
    for name in REQUEST_IDS:
        value = headers.get(name)
        if value:
            return "".join(letter for letter in value if letter.isprintable())[:100]
    return None


def canonical(url: str) -> str:
    """The URL as it will be sent, so that no second parser sees another host in it.

    Raises:
        ApiError: It is not an http(s) URL, or it names a user.
    """
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme not in {"http", "https"} or not parts.host or parts.auth is not None:
        raise ApiError(f"{url!r} is not an address of the form https://host/path")
    return parts._replace(fragment=None).url


def _new_session(scissors: Scissors) -> requests.Session:
    session = requests.Session()
    adapter = scissors.adapter(pool_connections=HOSTS_A_SESSION, pool_maxsize=1, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = _as_it_is
    session.headers["User-Agent"] = f"tap-saas/{__version__}"
    session.headers["Accept"] = "application/json, */*;q=0.5"
    return session


def _as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth that adds nothing: with none, requests would take one from `.netrc`."""
    return prepared


def _prepared(session: requests.Session, request: Request) -> requests.PreparedRequest:
    headers = dict(request.headers)
    content, content_type = (None, None) if request.body is None else request.body.encode()
    if content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = content_type
    return session.prepare_request(
        requests.Request(
            request.method, request.url, params=list(request.params), headers=headers, data=content
        )
    )


def _cert(http: HttpOptions) -> str | tuple[str, str] | None:
    if not http.cert:
        return None
    return http.cert[0] if len(http.cert) == 1 else (http.cert[0], http.cert[1])


def _told(error: Exception, http: HttpOptions) -> TapSaasError:
    """What went wrong, in our words: those of the libraries show parameters of addresses."""
    timeout = http.timeout
    reason = _reason(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        connect = format_duration(timeout.connect)
        return RetryableError(f"no connection within {connect} (http.timeout.connect)")
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        read = format_duration(min(timeout.read, timeout.total))
        return RetryableError(f"no answer within {read} (http.timeout.read)")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ApiError(
            f"the server's certificate is not trusted: {reason.verify_message}",
            do="set http.ca_file where the API has a certificate of its own",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return RetryableError(f"the proxy gives no connection: {_text(reason)}")
    if isinstance(error, requests.ConnectionError):
        return RetryableError(f"connection failed: {_text(reason)}")
    if isinstance(error, urllib3.exceptions.DecodeError):
        return RetryableError("broken body: it cannot be decompressed")
    if isinstance(error, urllib3.exceptions.HTTPError):
        return RetryableError(f"broken body: {_text(reason)}")
    if isinstance(error, requests.RequestException):
        told = _USER.sub("://", str(error))
        return ConfigError(f"the request cannot be made: {told}", do="check URLs and proxies")
    return ConfigError(f"http.ca_file or http.cert cannot be used: {error}")


def _reason(error: BaseException) -> BaseException:
    """The innermost cause: the libraries wrap it up to four times, not always as `__cause__`."""
    seen: BaseException = error
    for _ in range(10):
        inner = [getattr(seen, "reason", None), *seen.args, seen.__cause__, seen.__context__]
        deeper = next((cause for cause in inner if isinstance(cause, BaseException)), None)
        if deeper is None:
            return seen
        seen = deeper
    return seen


def _text(reason: BaseException) -> str:
    if isinstance(reason, urllib3.exceptions.IncompleteRead):
        return f"it broke off, {reason.expected} bytes are missing"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    if isinstance(reason, ValueError):
        return "the answer is no HTTP"
    return str(reason) or type(reason).__name__
