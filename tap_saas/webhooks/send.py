"""A test event: signed as a connector's source says, and posted to a receiver."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

import requests

from tap_saas.connector.incoming import SignedRequest, as_bytes
from tap_saas.errors import ApiError, ConfigError
from tap_saas.webhooks.source import Source

TIMEOUT_S = 30


def signed(
    source: Source, base_url: str, public_url: str, body: bytes, headers: Mapping[str, str]
) -> SignedRequest:
    """The event as its provider would send it: with an id in its header, and signed.

    The URL is the one to post to; where the URL is signed, it is the public one.

    Raises:
        ConfigError: a secret is missing, or only the provider can sign.
    """
    if source.unready is not None:
        raise ConfigError(source.unready, where=source.name, do="set what is missing")
    path = f"/webhooks/{source.name}"
    request = SignedRequest(
        method="POST",
        url=public_url.rstrip("/") + path,
        headers={"content-type": "application/json", **headers},
        body=body,
    )
    for place in source.form.id.places if source.form.id is not None else ():
        if place.kind == "header" and place.name.lower() not in request.headers:
            request = request.with_header(place.name, str(uuid.uuid4()))
    try:
        request = source.form.signature.sign(request, datetime.now(UTC), source.values)
    except ValueError as error:
        raise ConfigError(f"this event cannot be signed: {error}", where=source.name) from error
    query = request.url.partition("?")[2]
    url = f"{base_url.rstrip('/')}{path}{'?' if query else ''}{query}"
    return SignedRequest(method="POST", url=url, headers=request.headers, body=request.body)


def post(request: SignedRequest) -> tuple[int, str]:
    """The receiver's status and answer.

    Raises:
        ApiError: nobody answers there.
    """
    headers = {name: as_bytes(value) for name, value in request.headers.items()}
    try:
        response = requests.post(request.url, data=request.body, headers=headers, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        what = f"no answer from {request.url.partition('?')[0]} ({type(error).__name__})"
        raise ApiError(
            what, do="start one with saasctl webhooks serve, or correct --url"
        ) from error
    return response.status_code, response.text.strip()
