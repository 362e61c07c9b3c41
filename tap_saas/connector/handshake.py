"""What a provider asks before it sends events: `handshake:` of a webhook source."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.echo import Echo
from tap_saas.connector.incoming import ArrivedCondition, ArrivedIn, SignedRequest
from tap_saas.connector.signature import Signature

# Never HTML: what is echoed comes from whoever asks.
_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
_SENDABLE: Final = re.compile(r"[ -~]*")  # RFC 9110 section 5.5, without the letters beyond ASCII
# Shorter, it could be guessed, and would be masked in too many words.
_SECRET: Final = re.compile(r"[!-~]{8,1000}")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What we answer: header names and values besides that of the content."""

    status: int
    headers: dict[str, str] = {}
    content_type: str | None = None
    body: bytes = b""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{status: 200, body: "{body.challenge}"}`: what to answer.

    status: 200 unless said
    headers: names and texts with placeholders
    body: a text with placeholders, sent as text/plain, or an object of them, sent as JSON
    """

    status: Annotated[int, Meta(ge=200, le=299)] = 200
    headers: dict[str, Echo] = {}
    body: Echo | None = None


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{take: header:X-Hook-Secret, setting: hook_secret}`: what a handshake brings, in `home`.

    Anybody can send such a request: it is refused unless the operator has just said that one is
    expected.

    take: where the request has it
    setting: the secret setting, one of the signature's `secrets`; a value that it has itself is
      good too
    """

    take: ArrivedIn
    setting: str

    def find(self, request: SignedRequest) -> str | None:
        """The secret, None where there is none that is fit to be one."""
        found = request.read(self.take)
        return found if isinstance(found, str) and _SECRET.fullmatch(found) else None


class Handshake(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{when: $.type == url_verification, respond: {body: "{body.challenge}"}}`.

    A request that is answered and is no event. It needs the source's signature, unless `require`
    says something else.

    method: GET, POST or OPTIONS
    when: which requests are meant
    require: a signature of its own; {type: none} where the provider signs no handshake
    respond: what to answer
    store: a secret that it brings; it is taken only while `saasctl webhooks subscribe` or
      `saasctl webhooks expect` waits for it
    """

    method: Literal["GET", "POST", "OPTIONS"] = "POST"
    when: ArrivedCondition
    require: Signature | None = None
    respond: Reply = Reply()
    store: Store | None = None

    @property
    def needs_secret(self) -> bool:
        """Whether the answer is made with the secret of the source's signature."""
        body = self.respond.body
        texts = [*self.respond.headers.values(), *([] if body is None else [body])]
        return any(text.needs_secret for text in texts)

    def fits(self, request: SignedRequest) -> bool:
        """Whether this request is such a handshake."""
        return request.method == self.method and self.when.fits(request)

    def answer(self, request: SignedRequest, secret: bytes | None) -> Answer | None:
        """The answer, None where the request lacks what should come back.

        `secret` is the first one of the source's signature.
        """
        headers: dict[str, str] = {}
        for name, echo in self.respond.headers.items():
            value = echo.fill(request, secret)
            if not isinstance(value, str) or not _SENDABLE.fullmatch(value):
                return None
            headers[name] = value
        if self.respond.body is None:
            return Answer(status=self.respond.status, headers=headers)
        body = self.respond.body.fill(request, secret)
        if body is UNSET:
            return None
        is_text = isinstance(body, str)
        return Answer(
            status=self.respond.status,
            headers=headers,
            content_type=_TEXT if is_text else _JSON,
            body=body.encode("utf-8", "replace") if is_text else json.dumps(body).encode(),
        )


def first_fit(handshakes: list[Handshake], request: SignedRequest) -> Handshake | None:
    """The first handshake that a request is."""
    return next((one for one in handshakes if one.fits(request)), None)
