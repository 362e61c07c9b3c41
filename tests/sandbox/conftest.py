"""One real server for all tests; each test puts its own sandbox behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from starlette.types import ASGIApp, Receive, Scope, Send

from tap_saas.sandbox.app import create_app
from tap_saas.sandbox.server import serving
from tap_saas.sandbox.world import World

BEARER = {"Authorization": "Bearer sandbox-key"}


def decoded(response: requests.Response) -> Any:
    """The body as JSON, NaN and lone surrogates too."""
    return json.loads(response.content)


class Switch:
    """An application that passes everything on to another, which can be changed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Api:
    """A client of the served sandbox."""

    def __init__(self, url: str, switch: Switch) -> None:
        self.url = url
        self._switch = switch
        self.session = requests.Session()

    def serve(self, world: World, clock: Callable[[], float] | None = None) -> None:
        """From now on the server serves this world."""
        self._switch.app = create_app(world, clock=clock) if clock else create_app(world)

    def get(self, path: str, /, *, key: bool = True, **params: Any) -> requests.Response:
        url = path if path.startswith("http") else self.url + path
        headers = BEARER if key else {}
        return self.session.get(url, params=params, headers=headers, timeout=10)

    def read(self, path: str, /, **params: Any) -> Any:
        response = self.get(path, **params)
        assert response.status_code == 200, response.text
        return decoded(response)

    def post(self, path: str, /, **members: Any) -> Any:
        response = self.session.post(self.url + path, json=members, timeout=10)
        assert response.status_code in {200, 201}, response.text
        return response.json()

    def delete(self, path: str) -> None:
        assert self.session.delete(self.url + path, timeout=10).status_code == 200


@pytest.fixture(scope="session")
def shared_api() -> Iterator[Api]:
    switch = Switch(create_app(World(customers=3, orders=3, events=3)))
    with serving(switch) as url:
        api = Api(url, switch)
        yield api
        api.session.close()


@pytest.fixture
def api(shared_api: Api) -> Api:
    """The server over a small new world."""
    shared_api.serve(World(customers=30, orders=60, events=40))
    return shared_api


def orders_alone(n: int, **more: Any) -> World:
    """A world of orders."""
    return World(customers=0, orders=n, events=0, **more)


def walk(api: Api, kind: str, path: str, limit: int, **params: Any) -> Iterator[list[Any]]:
    """Every page of a list, walked in one of the ways that clients know."""
    if kind in {"next", "link"}:
        address: str | None = f"/{kind}{path}"
        asked: dict[str, Any] = {"limit": limit, **params}
        while address is not None:
            response = api.get(address, **asked)
            assert response.status_code == 200, response.text
            asked = {}
            if kind == "next":
                body = decoded(response)
                address = body["next"]
                yield body["items"]
            else:
                address = response.links.get("next", {}).get("url")
                yield decoded(response)
        return
    yield from _walk_by_parameter(api, kind, path, limit, params)


def _walk_by_parameter(
    api: Api, kind: str, path: str, limit: int, params: dict[str, Any]
) -> Iterator[list[Any]]:
    token: dict[str, Any] = {}
    number = 0
    while True:
        size = "per_page" if kind == "page" else "limit"
        body = api.read(path, **{size: limit, **params, **token})
        yield body["data"]
        number += 1
        if kind == "page":
            token = {"page": number + 1}
            more = number < body["pages"]
        elif kind == "offset":
            token = {"offset": number * limit}
            more = number * limit < body["total"]
        elif kind == "seek":
            more = body["has_more"]
            token = {"after": body["data"][-1]["id"]} if more else {}
        else:
            more = body["has_more"]
            token = {"cursor": body["next_cursor"]}
        if not more:
            return


def digest(pairs: list[tuple[str, str]]) -> str:
    """The digest of the truth, made from keys and `updated_at` as they were listed."""
    lines = sorted(f"{key}\t{version[:-1]}000Z\n".encode() for key, version in pairs)
    return hashlib.sha256(b"".join(lines)).hexdigest()
