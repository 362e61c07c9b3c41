"""What a client reads: lists, single records, what is deleted, the event log."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tap_saas.sandbox import lists
from tap_saas.sandbox.gate import Gate, Handler
from tap_saas.sandbox.refusal import RefusalError, bad
from tap_saas.sandbox.world import LISTS, STREAMS, World

LINES_PATH = "/orders/{order_id}/lines"
DETAIL_PATH = "/{id}"
LOG_PATH = "/log"
PREFIXES = ("", "/next", "/link")
PATHS = frozenset(
    [prefix + path for prefix in PREFIXES for path in (*(f"/{s}" for s in LISTS), LINES_PATH)]
    + [f"/{s}{path}" for s in STREAMS for path in (DETAIL_PATH, "/deleted")]
    + [LOG_PATH]
)
MOST_IDS = 100
LOG_WORDS = {"created_after": "updated_after", "created_before": "updated_before"}
LOG_SORTS = {"created": "updated_at", "-created": "-updated_at", "seq": "id"}


class Reading:
    """Handlers over the world."""

    def __init__(self, world: World, gate: Gate) -> None:
        self._world = world
        self._gate = gate

    def routes(self) -> list[Route]:
        """Every list in its three spellings, and what else is read."""
        routes = []
        for prefix in PREFIXES:
            routes += [Route(f"{prefix}/{s}", self._list(prefix, s)) for s in LISTS]
            routes.append(Route(prefix + LINES_PATH, self._list(prefix, None)))
        for stream in STREAMS:
            routes.append(Route(f"/{stream}/deleted", self._deleted(stream)))
            routes.append(Route(f"/{stream}{DETAIL_PATH}", self._detail(stream)))
        return [*routes, Route(LOG_PATH, self._gate.behind("events", self._log))]

    def _list(self, prefix: str, stream: str | None) -> Handler:
        async def handle(request: Request) -> Response:
            if stream in STREAMS and "ids" in request.query_params:
                return self._chosen(stream, request.query_params["ids"])
            return self._page(request, prefix, stream)

        return self._gate.behind(stream or "orders", handle)

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
        with_deleted = request.query_params.get("include_deleted") in {"1", "true"}
        with self._world.lock:
            if stream is not None:
                return lists.take(self._world.listing(stream, with_deleted=with_deleted), query)
            order_id = request.path_params["order_id"]
            lines = self._world.lines(order_id)
            if lines is None:
                raise RefusalError(404, "not_found", "there is no such order")
            return lists.take(lines, query)

    def _chosen(self, stream: str, ids: str) -> Response:
        """The records of these ids, without those that are not there."""
        wanted = list(dict.fromkeys(ids.split(",")))
        if len(wanted) > MOST_IDS:
            raise bad(f"ids are at most {MOST_IDS}")
        with self._world.lock:
            found = [self._world.record(stream, one) for one in wanted]
        part = lists.Part([text for text in found if text is not None], {})
        return Response(part.body(), media_type="application/json")

    def _detail(self, stream: str) -> Handler:
        async def handle(request: Request) -> Response:
            with self._world.lock:
                text = self._world.record(stream, request.path_params["id"])
            if text is None:
                raise RefusalError(404, "not_found", "there is no such record, or not any more")
            return Response(text, media_type="application/json")

        return self._gate.behind(stream, handle)

    def _deleted(self, stream: str) -> Handler:
        async def handle(request: Request) -> Response:
            query = lists.read_query(_renamed(request.query_params, {"since": "updated_after"}))
            with self._world.lock:
                part = lists.take(self._world.deleted(stream), query)
            return Response(part.body(), media_type="application/json")

        return self._gate.behind(stream, handle)

    async def _log(self, request: Request) -> Response:
        params = _renamed(request.query_params, LOG_WORDS)
        if "sort" in params:
            params["sort"] = LOG_SORTS.get(params["sort"], "")
        with self._world.lock:
            part = lists.take(self._world.log, lists.read_query(params))
        return Response(part.body(), media_type="application/json")


def _renamed(params: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {names.get(name, name): value for name, value in params.items()}
