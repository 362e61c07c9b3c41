"""The sandbox as an ASGI application: every request is noted, and has an id."""

from __future__ import annotations

import itertools
import re
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tap_saas.sandbox import hooks, reading
from tap_saas.sandbox.about import ABOUT
from tap_saas.sandbox.arrivals import Arrivals
from tap_saas.sandbox.auth import Auth, OAuthError
from tap_saas.sandbox.control import Control
from tap_saas.sandbox.faults import TRANSPORT, Faults
from tap_saas.sandbox.gate import TOKEN_PATH, Gate
from tap_saas.sandbox.hooks import HOOK_PATH, Hooks
from tap_saas.sandbox.limits import Limits
from tap_saas.sandbox.reading import DETAIL_PATH, LINES_PATH, Reading
from tap_saas.sandbox.refusal import RefusalError
from tap_saas.sandbox.world import World

PATHS = frozenset([*reading.PATHS, *hooks.PATHS, TOKEN_PATH])


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


def create_app(world: World, *, clock: Callable[[], float] = time.monotonic) -> Gateway:
    """The application over a world; `clock` is what limits, tokens and arrivals go by."""
    auth, limits, faults = Auth(clock), Limits(clock), Faults()
    arrivals = Arrivals(clock)
    gate = Gate(auth, limits, faults)
    control = Control(world, auth, limits, faults, arrivals)
    webhooks = Hooks(gate)
    world.log.watch = webhooks.sender.offer

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        control.churns.stop()
        webhooks.sender.stop()

    app = Starlette(
        routes=[
            Route("/", _about),
            *gate.routes(),
            *Reading(world, gate).routes(),
            *webhooks.routes(),
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
    """The path with its id taken out; paths that do not exist count as one."""
    if path in PATHS:
        return path
    path = re.sub(r"/orders/[^/]+/lines$", LINES_PATH, path)
    path = re.sub(r"^/(customers|orders|events)/[^/]+$", rf"/\1{DETAIL_PATH}", path)
    path = re.sub(r"^/webhooks/[^/]+", HOOK_PATH, path)
    return path if path in PATHS else "(unknown)"
