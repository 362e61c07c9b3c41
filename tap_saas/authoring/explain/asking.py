"""Requests as people read them: secrets and settings without a value stand there as their names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import UNSET

from tap_saas.authoring.explain.explanation import Asking
from tap_saas.authoring.explain.imagined import Asked
from tap_saas.connector import auth
from tap_saas.connector.exchange import Request
from tap_saas.connector.model import Stream
from tap_saas.connector.template import Template

HIDDEN = "***"
_READABLE = ":/,{}[]$"
_MARK = re.compile(r"%7B(\w+)%7D", re.IGNORECASE)


def shown(
    asked: Sequence[Asked], streams: Mapping[str, Stream], values: Mapping[str, Any], each: int
) -> list[Asking]:
    """The first requests of each stream, `each` at most, in their order."""
    told: Counter[str] = Counter()
    found = []
    for one in asked:
        told[one.stream] += 1
        if told[one.stream] <= each:
            found.append(asking(one, streams[one.stream], values))
    return found


def asking(asked: Asked, stream: Stream, values: Mapping[str, Any]) -> Asking:
    """One request, with the parameters that prove who asks."""
    request = asked.request
    for scheme in schemes(stream, values):
        if isinstance(scheme, auth.Key) and scheme.send.startswith("param:"):
            request = request.with_param(scheme.send.removeprefix("param:"), _safe(scheme.value))
    return Asking(
        stream=asked.stream,
        page=asked.page,
        method=request.method,
        url=url(request),
        body=_body(request),
    )


def url(request: Request) -> str:
    """The address with its parameters; what a reader can read stays as it is."""
    query = urlencode(request.params, safe=_READABLE, quote_via=quote)
    mark = "&" if "?" in request.url else "?"
    return _MARK.sub(r"{\1}", f"{request.url}{mark}{query}" if query else request.url)


def proofs(stream: Stream, values: Mapping[str, Any]) -> list[str]:
    """What each request carries to prove who asks: headers, never a secret."""
    lines = []
    for scheme in schemes(stream, values):
        match scheme:
            case auth.Bearer():
                lines.append(f"Authorization: Bearer {_safe(scheme.token)}")
            case auth.Basic():
                password = "" if scheme.password is None else _safe(scheme.password)
                lines.append(f"Authorization: Basic base64({_safe(scheme.user)}:{password})")
            case auth.Key():
                kind, _, name = scheme.send.partition(":")
                told = f"{name}={_safe(scheme.value)}" if kind == "cookie" else _safe(scheme.value)
                lines.append(f"{'Cookie' if kind == 'cookie' else name}: {told}")
            case auth.OAuth2():
                lines.append("Authorization: Bearer {token}")
    return lines


def token_requests(stream: Stream, values: Mapping[str, Any]) -> list[Asking]:
    """The requests for a token that a first run makes before its own."""
    found = []
    for scheme in schemes(stream, values):
        if isinstance(scheme, auth.OAuth2):
            address = scheme.token_url.fill(values)
            found.append(
                Asking(
                    stream=stream.name,
                    page=1,
                    method="POST",
                    url=str(scheme.token_url if address is UNSET else address),
                    body=f"grant_type={scheme.grant}",
                )
            )
    return found


def schemes(stream: Stream, values: Mapping[str, Any]) -> list[auth.Auth]:
    """How the stream's requests prove who asks, the chosen branch of each `select`."""
    return auth.resolve(stream.auth, values)


def _safe(template: Template) -> str:
    """A credential as the connector writes it: one that is written out is hidden."""
    return str(template) if template.names else HIDDEN


def _body(request: Request) -> str | None:
    if request.body is None:
        return None
    if request.body.kind == "json":
        return json.dumps(request.body.value, ensure_ascii=False)
    return _MARK.sub(r"{\1}", request.body.encode()[0].decode())
