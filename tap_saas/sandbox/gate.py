"""What every request of a client passes: credentials (401, 403), limits (429), faults.

A request that a fault spoils has been counted by its limits, as one that reached the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tap_saas.sandbox.auth import Auth
from tap_saas.sandbox.faults import Faults, spoil
from tap_saas.sandbox.limits import Limits

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
Handler = Callable[[Request], Awaitable[Response]]


class Gate:
    """Lets requests through to their handlers, and gives tokens."""

    def __init__(self, auth: Auth, limits: Limits, faults: Faults) -> None:
        self._auth = auth
        self._limits = limits
        self._faults = faults

    def routes(self) -> list[Route]:
        """The token endpoint: it needs no token, but limits and faults are for it too."""
        return [Route(TOKEN_PATH, self._token, methods=["POST"])]

    def behind(self, scope: str, handler: Handler) -> Handler:
        """The handler for those who may read `scope`."""

        async def handle(request: Request) -> Response:
            self._auth.admit(request, scope)
            return await self._admitted(request, handler)

        return handle

    async def _admitted(self, request: Request, handler: Handler) -> Response:
        path = request.scope["path"]
        self._limits.admit(path)
        fault = self._faults.due(path)
        if fault is None:
            return await handler(request)
        return await spoil(fault, lambda: handler(request))

    async def _token(self, request: Request) -> Response:
        body = await request.body()

        async def answer(request: Request) -> Response:
            return self._auth.token(request.headers, body)

        return await self._admitted(request, answer)
