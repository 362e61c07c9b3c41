"""One request of a provider: size, time, signature, handshake, queue, answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from starlette.types import Receive, Scope, Send

from tap_saas.connector.handshake import Answer, Handshake
from tap_saas.connector.incoming import SignedRequest
from tap_saas.errors import StateError
from tap_saas.queues.base import Arrival, utc_now
from tap_saas.queues.committer import Committer, Outcome
from tap_saas.webhooks.access import AccessLog
from tap_saas.webhooks.body import BodyReader
from tap_saas.webhooks.deadlines import Deadlines
from tap_saas.webhooks.metrics import Metrics
from tap_saas.webhooks.roster import Roster
from tap_saas.webhooks.source import Source

log = logging.getLogger(__name__)

BODY_S = 10.0
COMMIT_S = 2.0
# Bodies that are read or wait for their commit, all together.
MAX_HELD_BYTES = 256_000_000
# Some providers ignore a 503 whose Retry-After is a minute or more.
RETRY_AFTER = {"Retry-After": "30"}


class Verdict(NamedTuple):
    """An answer, and in a word or two why, for the logs: never told to the sender."""

    answer: Answer
    why: str


def _short(status: int, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    kind = "text/plain; charset=utf-8"
    return Answer(status=status, headers=dict(headers or {}), content_type=kind, body=text.encode())


CLOSE = {"Connection": "close"}
OK: Final = Answer(status=200)
BAD: Final = _short(400, "the handshake lacks what is to be answered\n")
UNAUTHORIZED: Final = _short(401, "the signature is missing, stale or wrong\n")
UNKNOWN: Final = _short(404, "no such source\n")
SLOW: Final = _short(408, "the body came too slowly\n", CLOSE)
LARGE: Final = _short(413, "the body is too large\n", CLOSE)
LATER: Final = _short(503, "try again later\n", RETRY_AFTER)
UNEXPECTED: Final = "no secret is expected"


class Receiver:
    """The ASGI application behind `/webhooks/<connector>/<source>`; for one event loop."""

    def __init__(
        self,
        roster: Roster,
        committer: Committer,
        metrics: Metrics,
        access: AccessLog,
        public_url: str = "",
    ) -> None:
        self._roster = roster
        self._committer = committer
        self._metrics = metrics
        self._access = access
        self._public_url = public_url.rstrip("/")
        self._deadlines = Deadlines()
        self._bodies = BodyReader(self._deadlines, BODY_S)
        self._held = 0
        self._refuses = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        params = scope["path_params"]
        name = f"{params['connector']}/{params['source']}"
        source = self._roster.sources.get(name)
        size = 0
        if source is None:
            verdict = Verdict(UNKNOWN, "unknown source")
        else:
            body = await self._body(source, scope, receive)
            if body is None:
                return
            if isinstance(body, bytes):
                size = len(body)
                verdict = await self._judge(source, scope, body)
            else:
                verdict = body
        await answer(send, verdict.answer)
        self._tell(scope, name if source else "", verdict, size, time.perf_counter() - began)

    async def _judge(self, source: Source, scope: Scope, body: bytes) -> Verdict:
        self._held += len(body)
        try:
            request = self._request(scope, body)
            source = self._roster.find(source.name)
            handshake = source.bringing(request)
            if handshake is not None:
                return await self._brought(source, handshake, request)
            verdict = self._checked(source, request, utc_now())
            return verdict or await self._keep(source, scope, request)
        except Exception:  # a mistake of ours must not lose the event: the provider comes again
            log.exception("a request could not be judged: source=%s", source.name)
            return Verdict(LATER, "internal error")
        finally:
            self._held -= len(body)

    async def _body(self, source: Source, scope: Scope, receive: Receive) -> bytes | Verdict | None:
        """The body, or the answer where there is none, or None where the sender left."""
        if scope["method"] not in source.methods:
            headers = {"Allow": ", ".join(source.methods), **CLOSE}
            return Verdict(_short(405, "not this method\n", headers), "method")
        limit = int(source.form.max_body)
        declared = _content_length(scope)
        room = limit if declared is None else min(limit, declared)
        if self._held + room > MAX_HELD_BYTES:
            return Verdict(_short(503, "try again later\n", {**RETRY_AFTER, **CLOSE}), "memory")
        self._held += room
        try:
            body = await self._bodies.read(receive, declared, limit)
        finally:
            self._held -= room
        if isinstance(body, bytes):
            return body
        if body == "gone":
            return None
        return Verdict(SLOW, "slow body") if body == "slow" else Verdict(LARGE, "large body")

    def _request(self, scope: Scope, body: bytes) -> SignedRequest:
        query = scope["query_string"].decode("latin-1")
        path = scope["raw_path"].decode("latin-1")
        return SignedRequest(
            method=scope["method"],
            url=f"{self._public_url}{path}{'?' if query else ''}{query}",
            headers=_headers(scope["headers"]),
            body=body,
        )

    async def _brought(
        self, source: Source, handshake: Handshake, request: SignedRequest
    ) -> Verdict:
        """The answer to a handshake that brings a secret: it is kept before it is answered."""
        require, store = handshake.require or source.form.signature, handshake.store
        assert store is not None
        why = source.blank or require.unready(source.values)
        if why is not None:
            return Verdict(LATER, why)
        why = require.refuse(request, utc_now(), source.values)
        if why is None and not self._roster.is_open(source.name, utc_now()):
            why = UNEXPECTED
        if why is not None:
            return Verdict(UNAUTHORIZED, why)
        secret = store.find(request)
        if secret is None or not source.takes(store.setting, secret):
            return Verdict(BAD, "bad handshake")
        verdict = _shake(source.with_secrets({store.setting: [secret]}), handshake, request)
        if verdict.answer is BAD:
            return verdict
        try:
            is_taken = await self._roster.take(source.name, store.setting, secret, utc_now())
        except StateError as error:
            log.error("a secret came and is lost: source=%s why=%s", source.name, error)
            return Verdict(LATER, "the secret cannot be kept")
        return verdict if is_taken else Verdict(UNAUTHORIZED, UNEXPECTED)

    def _checked(self, source: Source, request: SignedRequest, now: datetime) -> Verdict | None:
        """The answer to all that is no genuine event, None for one that is."""
        form = source.form
        if source.unready is not None:
            return Verdict(LATER, source.unready)
        for handshake in form.handshake:
            if handshake.require is not None and handshake.fits(request):
                why = handshake.require.refuse(request, now, source.values)
                return Verdict(UNAUTHORIZED, why) if why else _shake(source, handshake, request)
        why = form.signature.refuse(request, now, source.values)
        if why is not None:
            return Verdict(UNAUTHORIZED, why)
        for handshake in form.handshake:
            if handshake.require is None and handshake.fits(request):
                return _shake(source, handshake, request)
        if request.method != "POST":
            return Verdict(_short(405, "not this method\n", {"Allow": "POST"}), "no handshake")
        return None

    async def _keep(self, source: Source, scope: Scope, request: SignedRequest) -> Verdict:
        """Queue the event; the answer once it is safely there."""
        if self._is_refusing():
            return Verdict(LATER, "refusing")
        query = scope["query_string"].decode("latin-1")
        outcome = await self._committed(
            Arrival(
                source=source.name,
                event_id=source.event_id(request),
                received_at=utc_now(),
                method=request.method,
                path=scope["raw_path"].decode("latin-1"),
                query=source.kept_query(query),
                headers=source.kept_headers(request),
                body=request.body,
            )
        )
        if outcome in ("stored", "duplicate"):
            self._metrics.kept(source.name, outcome)
            return Verdict(OK, outcome)
        return Verdict(LATER, "not stored" if outcome == "failed" else "slow commit")

    def _is_refusing(self) -> bool:
        """Whether nothing can be stored now; the log has when that begins, why, and its end."""
        refusal = self._committer.refusal()
        if (refusal is not None) != self._refuses:
            self._refuses = refusal is not None
            if refusal is None:
                log.info("events are taken again")
            else:
                log.warning("events are answered with 503 until that is over: why=%s", refusal)
        return self._refuses

    async def _committed(self, arrival: Arrival) -> Outcome | None:
        """What became of it, None where that was not known in time."""
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome | None = None) -> None:
            if not future.done():
                future.set_result(outcome)

        number = self._deadlines.watch(COMMIT_S, done)
        self._committer.submit(arrival, done)
        try:
            return await future
        finally:
            self._deadlines.forget(number)

    def _tell(self, scope: Scope, name: str, verdict: Verdict, size: int, seconds: float) -> None:
        status = verdict.answer.status
        self._metrics.answered(name, status, seconds)
        if status >= 400:
            self._metrics.refused(name, verdict.why)
            if name:
                self._committer.count_refused(name, verdict.why)
        peer = scope["client"][0] if scope["client"] else "-"
        self._access.add(
            scope["method"], scope["raw_path"], status, verdict.why, size, seconds, peer
        )


def _shake(source: Source, handshake: Handshake, request: SignedRequest) -> Verdict:
    keys = source.form.signature.keys(source.values)
    made = handshake.answer(request, keys[0] if keys else None)
    return Verdict(BAD, "bad handshake") if made is None else Verdict(made, "handshake")


async def answer(send: Send, given: Answer) -> None:
    """Send an answer; what is echoed is never taken for a page."""
    headers = [(b"content-length", str(len(given.body)).encode())] if given.status != 204 else []
    if given.content_type is not None:
        headers.append((b"content-type", given.content_type.encode()))
        headers.append((b"x-content-type-options", b"nosniff"))
    headers += [(name.lower().encode(), text.encode()) for name, text in given.headers.items()]
    await send({"type": "http.response.start", "status": given.status, "headers": headers})
    await send({"type": "http.response.body", "body": given.body if given.status != 204 else b""})


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header names, in lower case, and values; those of one name are joined (RFC 9110 5.3)."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
