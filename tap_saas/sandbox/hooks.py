"""Webhooks: a client subscribes, the other side (`/_webhooks`) sees and spoils what is sent."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tap_saas.sandbox.gate import Gate
from tap_saas.sandbox.refusal import Fields, bad
from tap_saas.sandbox.sender import Knobs, Sender
from tap_saas.sandbox.signing import SCHEMES
from tap_saas.sandbox.subscriptions import Subscriptions

HOOKS_PATH, HOOK_PATH = "/webhooks", "/webhooks/{id}"
PATHS = (HOOKS_PATH, HOOK_PATH, f"{HOOK_PATH}/renew")


class Hooks:
    """Handlers of subscriptions, and the sender."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.subscriptions = Subscriptions()
        self.sender = Sender(self.subscriptions)

    def routes(self) -> list[Route]:
        """The client's paths and the other side's."""
        handlers = (
            (HOOKS_PATH, "GET", self._all),
            (HOOKS_PATH, "POST", self._make),
            (HOOK_PATH, "GET", self._one),
            (HOOK_PATH, "DELETE", self._delete),
            (f"{HOOK_PATH}/renew", "POST", self._renew),
        )
        return [
            *(
                Route(path, self._gate.behind("events", handler), methods=[method])
                for path, method, handler in handlers
            ),
            Route("/_webhooks", self._show),
            Route("/_webhooks", self._set, methods=["POST"]),
            Route("/_webhooks", self._reset, methods=["DELETE"]),
        ]

    async def _all(self, request: Request) -> Response:
        return JSONResponse({"data": [one.show() for one in self.subscriptions.all()]})

    async def _make(self, request: Request) -> Response:
        fields = await Fields.of(request)
        url, types = fields.text("url"), fields.texts("types")
        scheme = fields.one_of("signature", SCHEMES, "standard")
        secret, lives_s = fields.text("secret"), _lives_s(fields)
        fields.end()
        if url is None:
            raise bad("url is missing")
        made = self.subscriptions.make(url, types, scheme, secret, lives_s)
        return JSONResponse(made.show(secret=True), 201)

    async def _one(self, request: Request) -> Response:
        return JSONResponse(self.subscriptions.get(request.path_params["id"]).show())

    async def _renew(self, request: Request) -> Response:
        fields = await Fields.of(request)
        lives_s = _lives_s(fields)
        fields.end()
        return JSONResponse(self.subscriptions.renew(request.path_params["id"], lives_s).show())

    async def _delete(self, request: Request) -> Response:
        self.subscriptions.delete(request.path_params["id"])
        return Response(status_code=204)

    async def _show(self, request: Request) -> Response:
        """What was sent, and what became of it; `deliveries=0` leaves the single ones out."""
        with_all = request.query_params.get("deliveries", "1") not in {"0", "false"}
        subscriptions = [one.show() for one in self.subscriptions.all()]
        shown = self.sender.show(deliveries=with_all)
        return JSONResponse({"subscriptions": subscriptions, **shown})

    async def _set(self, request: Request) -> Response:
        """How badly events are sent from now on; what is not named is as at the start."""
        fields = await Fields.of(request)
        usual = Knobs()
        knobs = Knobs(
            double_every=fields.whole("double_every"),
            lose_every=fields.whole("lose_every"),
            forge_every=fields.whole("forge_every"),
            delay_ms=fields.whole("delay_ms", most=600_000),
            disorder_ms=fields.whole("disorder_ms", most=600_000),
            retry_ms=fields.whole("retry_ms", usual.retry_ms, least=1),
            attempts=fields.whole("attempts", usual.attempts, least=1),
        )
        fields.end()
        self.sender.knobs = knobs
        return JSONResponse(self.sender.show(deliveries=False))

    async def _reset(self, request: Request) -> Response:
        """Nothing counted, nothing waits, nothing goes wrong."""
        self.sender.reset()
        return JSONResponse(self.sender.show(deliveries=False))


def _lives_s(fields: Fields) -> float | None:
    return fields.number_or_null("expires_in_s", most=31_536_000.0)
