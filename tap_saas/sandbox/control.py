"""The other side of the sandbox, paths that begin with `_`: truth, counts, changes, faults, limits.

They need no credentials, are never limited and are not counted.
"""

from __future__ import annotations

import asyncio
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tap_saas.sandbox import oddities
from tap_saas.sandbox.arrivals import Arrivals
from tap_saas.sandbox.auth import Auth
from tap_saas.sandbox.churn import Churn, Churns
from tap_saas.sandbox.faults import KINDS, Fault, Faults
from tap_saas.sandbox.limits import Limits
from tap_saas.sandbox.refusal import Fields, bad
from tap_saas.sandbox.world import LINES, LISTS, STREAMS, World


class Control:
    """Handlers over the parts of one sandbox."""

    def __init__(
        self, world: World, auth: Auth, limits: Limits, faults: Faults, arrivals: Arrivals
    ) -> None:
        self.world = world
        self.auth = auth
        self.limits = limits
        self.faults = faults
        self.arrivals = arrivals
        self.churns = Churns(world)

    def routes(self) -> list[Route]:
        """All control paths."""
        return [
            Route("/_truth", self.truth),
            Route("/_world", self.show_world),
            Route("/_world/change", self.change, methods=["POST"]),
            Route("/_world/late", self.late, methods=["POST"]),
            Route("/_world/hold", self.hold, methods=["POST"]),
            Route("/_world/release", self.release, methods=["POST"]),
            Route("/_world/forget", self.forget, methods=["POST"]),
            Route("/_world/churn", self.churn, methods=["POST"]),
            Route("/_world/churn", self.stop_churn, methods=["DELETE"]),
            Route("/_faults", self.show_faults),
            Route("/_faults", self.add_fault, methods=["POST"]),
            Route("/_faults", self.clear_faults, methods=["DELETE"]),
            Route("/_limits", self.show_limits),
            Route("/_limits", self.set_limit, methods=["POST"]),
            Route("/_limits", self.reset_limits, methods=["DELETE"]),
            Route("/_requests", self.show_requests),
            Route("/_requests", self.reset_requests, methods=["DELETE"]),
            Route("/_oauth", self.set_oauth, methods=["POST"]),
            Route("/_oauth/refresh_token", self.refresh_token, methods=["POST"]),
        ]

    async def truth(self, request: Request) -> Response:
        """Keys and newest versions of a stream; of oddities also what must become of each."""
        stream = request.query_params.get("stream", "")
        if stream not in {*LISTS, LINES}:
            raise bad(f"stream is not one of {', '.join((*LISTS, LINES))}")
        truth = await asyncio.to_thread(self.world.truth, stream)
        told: dict[str, object] = {
            "stream": stream,
            "count": len(truth.lines),
            "digest": truth.digest,
            "max_version": truth.max_version,
        }
        if request.query_params.get("full", "0") not in {"0", "false"}:
            told["records"] = truth.pairs()
        if stream == "oddities":
            told["types"] = oddities.TYPES
            told["verdicts"] = oddities.verdicts()
        return JSONResponse(told)

    async def show_world(self, request: Request) -> Response:
        """Sizes, what changes by itself, and the log."""
        log = self.world.log.show()
        shown = {"streams": self.world.sizes(), "churn": self.churns.show(), "log": log}
        return JSONResponse(shown)

    async def change(self, request: Request) -> Response:
        """Update, insert, delete, restore; answers when the last stamp has passed."""
        fields = await Fields.of(request)
        stream = fields.one_of("stream", STREAMS)
        update, insert = fields.count_or_ids("update"), fields.whole("insert")
        delete, restore = fields.count_or_ids("delete"), fields.count_or_ids("restore")
        new_field = fields.flag("new_field")
        fields.end()
        try:
            change = self.world.change(
                stream,
                update=update,
                insert=insert,
                delete=delete,
                restore=restore,
                new_field=new_field,
            )
        except ValueError as error:
            raise bad(str(error)) from error
        await self._until_passed()
        return JSONResponse({"stream": stream, **change._asdict()})

    async def _until_passed(self) -> None:
        while ahead_s := self.world.ahead_s():
            await asyncio.sleep(ahead_s)

    async def late(self, request: Request) -> Response:
        """Stale copies at the end of a list."""
        fields = await Fields.of(request)
        stream, n = fields.one_of("stream", STREAMS), fields.whole("n", 1, most=10_000)
        fields.end()
        ids = self.world.late(stream, n)
        await self._until_passed()
        return JSONResponse({"stream": stream, "late": ids})

    async def hold(self, request: Request) -> Response:
        """The next events are not seen until they are released."""
        fields = await Fields.of(request)
        n = fields.whole("n", 1)
        fields.end()
        with self.world.lock:
            self.world.log.hold(n)
            return JSONResponse(self.world.log.show())

    async def release(self, request: Request) -> Response:
        """What was held back is seen now."""
        with self.world.lock:
            return JSONResponse({"released": self.world.log.release()})

    async def forget(self, request: Request) -> Response:
        """The log's old events are gone."""
        fields = await Fields.of(request)
        keep = fields.whole("keep")
        fields.end()
        with self.world.lock:
            return JSONResponse({"events": self.world.log.forget(keep)})

    async def churn(self, request: Request) -> Response:
        """Records of a stream change by themselves from now on."""
        fields = await Fields.of(request)
        churn = Churn(
            stream=fields.one_of("stream", STREAMS),
            every_ms=fields.whole("every_ms", 20, least=1),
            stop_after=fields.whole_or_null("stop_after", None),
        )
        fields.end()
        self.churns.start(churn)
        return JSONResponse(self.churns.show(), 201)

    async def stop_churn(self, request: Request) -> Response:
        """The world is still again."""
        self.churns.stop()
        await asyncio.sleep(0)
        return JSONResponse(self.churns.show())

    async def add_fault(self, request: Request) -> Response:
        """Something goes wrong from now on."""
        fields = await Fields.of(request)
        retry_after = fields.text("retry_after")
        if retry_after not in {None, "seconds", "date"}:
            raise bad("retry_after is not seconds, date or null")
        fault = Fault(
            path=cast("str", fields.text("path", "*")),
            kind=fields.one_of("kind", KINDS),
            times=fields.whole_or_null("times", 1),
            every=fields.whole("every", 1, least=1),
            retry_after=retry_after,
            after_s=fields.number("after_s", 1.0),
            delay_ms=fields.whole("delay_ms", most=600_000),
            length=fields.one_of("length", ("cut", "whole"), "cut"),
        )
        fields.end()
        self.faults.add(fault)
        return JSONResponse(self.faults.show()[-1], 201)

    async def show_faults(self, request: Request) -> Response:
        """All faults."""
        return JSONResponse(self.faults.show())

    async def clear_faults(self, request: Request) -> Response:
        """No faults."""
        self.faults.clear()
        return JSONResponse([])

    async def set_limit(self, request: Request) -> Response:
        """Set the limit of a path; `requests` null takes it away."""
        fields = await Fields.of(request)
        path = fields.text("path")
        if not path:
            raise bad("path is missing")
        requests = fields.whole_or_null("requests", None)
        per_s = fields.number("per_s", 1.0)
        fields.end()
        if per_s <= 0:
            raise bad("per_s is not more than 0")
        self.limits.set(path, requests, per_s)
        return JSONResponse(self.limits.show())

    async def show_limits(self, request: Request) -> Response:
        """All limits."""
        return JSONResponse(self.limits.show())

    async def reset_limits(self, request: Request) -> Response:
        """Only the limit of /events, nothing counted."""
        self.limits.reset()
        return JSONResponse(self.limits.show())

    async def show_requests(self, request: Request) -> Response:
        """Counts by path and status, and when requests arrived; `times=0` leaves the latter out."""
        times = request.query_params.get("times", "1") not in {"0", "false"}
        shown = self.arrivals.show(times=times)
        return JSONResponse({"refresh_reuse": self.auth.refresh_reuse, **shown})

    async def reset_requests(self, request: Request) -> Response:
        """All counts at 0."""
        self.arrivals.reset()
        self.auth.refresh_reuse = 0
        return JSONResponse({})

    async def set_oauth(self, request: Request) -> Response:
        """How long access tokens live from now on."""
        fields = await Fields.of(request)
        self.auth.expires_in_s = fields.whole("expires_in_s", 30, least=1)
        fields.end()
        return JSONResponse({"expires_in_s": self.auth.expires_in_s})

    async def refresh_token(self, request: Request) -> Response:
        """A first refresh token."""
        fields = await Fields.of(request)
        scope = fields.text("scope")
        fields.end()
        return JSONResponse({"refresh_token": self.auth.first_refresh_token(scope)}, 201)
