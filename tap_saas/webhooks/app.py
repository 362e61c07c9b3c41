"""The receiver's addresses: webhooks, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from tap_saas.errors import QueueError
from tap_saas.queues.base import Queue, Status, utc_now
from tap_saas.queues.committer import Committer
from tap_saas.webhooks.access import AccessLog
from tap_saas.webhooks.metrics import CONTENT_TYPE, Metrics
from tap_saas.webhooks.receiver import UNKNOWN, Receiver, answer

STATUS_S = 5.0


class Health:
    """`/healthz`, `/readyz` and `/metrics`; the queue is asked at most every `STATUS_S` seconds."""

    def __init__(self, queue: Queue, committer: Committer, metrics: Metrics) -> None:
        self._queue = queue
        self._committer = committer
        self._metrics = metrics
        self._status: Status | None = None
        self._asked_at = -STATUS_S
        self._asking = asyncio.Lock()

    async def healthz(self, request: Request) -> Response:
        """The process runs, whether it takes events or not."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Events are taken, else 503 and why."""
        refusal = self._committer.refusal()
        if refusal is None:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(f"{refusal}\n", status_code=503)

    async def metrics(self, request: Request) -> Response:
        """The counts, for Prometheus."""
        async with self._asking:
            if time.monotonic() - self._asked_at >= STATUS_S:
                try:
                    self._status = await asyncio.to_thread(self._queue.status)
                except QueueError:
                    self._status = None
                self._asked_at = time.monotonic()
        is_ready = self._committer.refusal() is None
        text = self._metrics.text(self._committer.pending, is_ready, self._status, utc_now())
        return Response(text, media_type=CONTENT_TYPE)


class _Elsewhere:
    """404 for every other address, in the access log too: a wrong URL at the provider is seen."""

    def __init__(self, access: AccessLog) -> None:
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, UNKNOWN)
        peer = scope["client"][0] if scope["client"] else "-"
        self._access.add(scope["method"], scope["raw_path"], 404, "unknown address", 0, 0.0, peer)


def application(receiver: Receiver, health: Health, access: AccessLog) -> Router:
    """All addresses as one ASGI application."""
    routes = [
        Route("/webhooks/{connector}/{source}", receiver),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
        Route("/metrics", health.metrics),
    ]
    return Router(routes, redirect_slashes=False, default=_Elsewhere(access))
