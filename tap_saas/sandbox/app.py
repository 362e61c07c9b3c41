"""The sandbox as an ASGI application: every request is noted, who asks is checked, then counted.

The order for a list is: credentials (401, 403), limits (429), faults, the list itself. A request
that a fault spoils has been counted by its limits, as one that reached the server.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tap_saas.sandbox import lists
from tap_saas.sandbox.about import ABOUT
from tap_saas.sandbox.arrivals import Arrivals
from tap_saas.sandbox.auth import Auth, OAuthError
from tap_saas.sandbox.control import Control
from tap_saas.sandbox.faults import TRANSPORT, Faults, spoil
from tap_saas.sandbox.limits import Limits
from tap_saas.sandbox.refusal import RefusalError, bad
from tap_saas.sandbox.world import LISTS, World

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
LINES_PATH = "/orders/{order_id}/lines"
PREFIXES = ("", "/next", "/link")
PATHS = frozenset(
    [prefix + path for prefix in PREFIXES for path in (*(f"/{s}" for s in LISTS), LINES_PATH)]
    + [TOKEN_PATH]
)
Answer = Callable[[], Awaitable[Response]]


class Gateway:
    """The outermost layer: request ids, arrivals, and the connection that faults act on."""

    def __init__(self, app: ASGIApp, arrivals: Arrivals) -> None:
        self._app = app
        self._arrivals = arrivals
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        request_id = f"req_{next(self._numbers):08d}".encode()
        is_counted = path != "/" and not path.startswith("/_")
        entry = self._arrivals.note(_counted_path(path)) if is_counted else None
        # ASGI hides the connection; uvicorn's `send` belongs to the object that holds it.
        scope[TRANSPORT] = getattr(getattr(send, "__self__", None), "transport", None)

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
                if entry is not None:
                    self._arrivals.answer(entry, message["status"])
            await send(message)

        await self._app(scope, receive, send_noted)


class Lists:
    """Handlers of lists and of the token endpoint."""

    def __init__(self, world: World, auth: Auth, limits: Limits, faults: Faults) -> None:
        self._world = world
        self._auth = auth
        self._limits = limits
        self._faults = faults

    def routes(self) -> list[Route]:
        """Every list in its three spellings, and the token endpoint."""
        routes = [Route(TOKEN_PATH, self.token, methods=["POST"])]
        for prefix in PREFIXES:
            routes += [Route(f"{prefix}/{s}", self._handler(prefix, s)) for s in LISTS]
            routes.append(Route(prefix + LINES_PATH, self._handler(prefix, None)))
        return routes

    async def token(self, request: Request) -> Response:
        """An access token; faults may spoil it, limits may refuse it."""
        body = await request.body()

        async def answer() -> Response:
            return self._auth.token(request.headers, body)

        return await self._admitted(request, answer)

    def _handler(self, prefix: str, stream: str | None) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            self._auth.admit(request, stream or "orders")

            async def answer() -> Response:
                return self._page(request, prefix, stream)

            return await self._admitted(request, answer)

        return handle

    async def _admitted(self, request: Request, answer: Answer) -> Response:
        path = request.scope["path"]
        self._limits.admit(path)
        fault = self._faults.due(path)
        return await answer() if fault is None else await spoil(fault, answer)

    def _page(self, request: Request, prefix: str, stream: str | None) -> Response:
        query = lists.read_query(request.query_params)
        if prefix and query.style != "cursor":
            raise bad(f"{prefix}/... takes limit and cursor only")
        part = self._take(request, stream, query)
        if not prefix:
            return Response(part.body(), media_type="application/json")
        address = None
        if part.next_cursor is not None:
            base = str(request.url.replace(query="", fragment=""))
            address = lists.next_url(base, request.query_params, part.next_cursor)
        if prefix == "/next":
            body = lists.Part(part.texts, {"next": address}).body("items")
            return Response(body, media_type="application/json")
        headers = {"Link": f'<{address}>; rel="next"'} if address else {}
        return Response(part.array(), media_type="application/json", headers=headers)

    def _take(self, request: Request, stream: str | None, query: lists.Query) -> lists.Part:
        with self._world.lock:
            if stream is not None:
                return lists.take(self._world.listing(stream), query)
            order_id = request.path_params["order_id"]
            lines = self._world.lines(order_id)
            if lines is None:
                raise RefusalError(404, "not_found", "there is no such order")
            return lists.take(lines, query)


def create_app(world: World, *, clock: Callable[[], float] = time.monotonic) -> Gateway:
    """The application over a world; `clock` is what limits, tokens and arrivals go by."""
    auth, limits, faults = Auth(clock), Limits(clock), Faults()
    arrivals = Arrivals(clock)
    control = Control(world, auth, limits, faults, arrivals)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        control.churns.stop()

    app = Starlette(
        routes=[
            Route("/", _about),
            *Lists(world, auth, limits, faults).routes(),
            *control.routes(),
        ],
        exception_handlers={
            RefusalError: _answer_refusal,
            OAuthError: _answer_refusal,
            HTTPException: _answer_http,
            Exception: _answer_mistake,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Gateway(app, arrivals)


async def _about(request: Request) -> Response:
    return JSONResponse(ABOUT)


async def _answer_refusal(request: Request, error: Exception) -> Response:
    return cast("RefusalError | OAuthError", error).response()


async def _answer_http(request: Request, error: Exception) -> Response:
    known = cast("HTTPException", error)
    codes = {404: "not_found", 405: "method_not_allowed"}
    message = f"{known.detail}: {request.method} {request.url.path}; GET / lists what there is"
    body = {"error": codes.get(known.status_code, "refused"), "message": message}
    return JSONResponse(body, known.status_code, headers=known.headers)


async def _answer_mistake(request: Request, error: Exception) -> Response:
    traceback.print_exception(error, file=sys.stderr)
    body = {"error": "internal", "message": "a mistake in the sandbox, see its stderr"}
    return JSONResponse(body, 500)


def _counted_path(path: str) -> str:
    """The path with its order id taken out; paths that do not exist count as one."""
    path = re.sub(r"/orders/[^/]+/lines$", LINES_PATH, path)
    return path if path in PATHS else "(unknown)"
