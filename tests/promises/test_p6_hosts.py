"""P6: credentials go to the host of `base_url` and to `http.hosts`, whatever an answer says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_api import Asked, Hostile, Raw, answer, hostile
from hostile_shop import CLIENT_SECRET, DAY, KEY, SECRETS, TOKEN, Shop
from in_process import assert_honest, lines_of

FACES = (*SECRETS, "bWU6azN5L29mK3RoZSBzaG9w")
"""Every face of a secret that a request may carry; the last is the Basic header's."""
HEAD: dict[str, Any] = {
    "name": "shop",
    "settings": {
        "url": {},
        "key": {"secret": True, "env": "SHOP_KEY"},
        "client_secret": {"secret": True, "env": "SHOP_CLIENT_SECRET"},
    },
    "base_url": "{url}",
    "headers": {"X-Also": "v={key}", "X-Plain": "7"},
    "params": {"also": "{key}", "plain": "7"},
    "auth": [
        {"type": "basic", "user": "me", "password": "{key}"},
        {"type": "key", "send": "param:api_key", "value": "{key}"},
        {"type": "key", "send": "cookie:sid", "value": "{key}"},
        {"type": "key", "send": "header:X-Api-Key", "value": "{key}"},
    ],
    "retry": {"attempts": 1},
    "defaults": {"records": "$.data", "primary_key": ["id"], "version": "updated_at"},
}
OAUTH = {
    "type": "oauth2",
    "grant": "client_credentials",
    "token_url": "{url}/token",
    "client": {"id": "me", "secret": "{client_secret}", "send": "body"},
}
LIST = {"path": "/list", "pagination": {"type": "next_url", "next": "$.next"}}
RECORD = {"id": 1, "updated_at": DAY.format(1), "type": "changed"}


def stream(**more: Any) -> dict[str, Any]:
    return {"streams": {"things": {**LIST, **more}}}


SINGLE = {"type": "single"}
WAYS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "the next link of a page": (stream(), {"/list": "next"}),
    "the next link, with a token": (stream(auth=OAUTH), {"/list": "next"}),
    "the next link of a POST with a body": (
        stream(method="POST", body={"json": {"secret": "{key}", "plain": 7}}),
        {"/list": "next"},
    ),
    "the header Link": (stream(pagination={"type": "link_header"}), {"/list": "link"}),
    "a redirect": (stream(), {"/list": "redirect"}),
    "a redirect of a next page": (stream(), {"/list": "stay", "/more": "redirect"}),
    "the redirect of a token request": (stream(auth=OAUTH), {"/token": "redirect"}),
    "the list of what is deleted": (
        stream(deletes={"list": {"path": "/gone"}}),
        {"/gone": "next"},
    ),
    "a child's list": (
        {
            "streams": {
                "things": {**LIST, "pagination": SINGLE},
                "parts": {
                    **LIST,
                    "path": "/list/{of}/parts",
                    "parents": [{"stream": "things", "values": {"of": "$.id"}}],
                },
            }
        },
        {"/list/1/parts": "next"},
    ),
    "an event's record": (
        {
            **stream(pagination=SINGLE),
            "events": {
                "log": {
                    "path": "/log",
                    "pagination": SINGLE,
                    "type": "$.type",
                    "routes": [
                        {
                            "stream": "things",
                            "fetch": {"path": "/list/{id}", "values": {"id": "$.id"}},
                        }
                    ],
                }
            },
        },
        {"/list/1": "redirect"},
    ),
    "an event log": (
        {
            **stream(pagination=SINGLE),
            "events": {
                "log": {
                    **LIST,
                    "path": "/log",
                    "type": "$.type",
                    "routes": [{"stream": "things", "record": "$"}],
                }
            },
        },
        {"/log": "next"},
    ),
}


STAYS = {
    "the redirect of a token request": "307 Temporary Redirect",
    "the next link of a POST with a body": "is not the host of base_url and would get a secret",
}
"""Ways that are not taken at all, and what is told of it."""


def misleading(ways: dict[str, str], to: str) -> Callable[[Asked], Raw]:
    """An API whose answers for these paths lead to another host."""

    def given(asked: Asked) -> Raw:
        way = ways.get(asked.path)
        if way == "redirect":
            return answer(b"", 307, {"Location": f"{to}/more?page=2"})
        if asked.path == "/token":
            return answer(json.dumps({"access_token": TOKEN, "expires_in": 3600}).encode())
        page: dict[str, Any] = {"data": [RECORD], "next": None}
        headers = {"Link": f'<{to}/more?page=2>; rel="next"'} if way == "link" else {}
        if way in ("next", "stay"):
            page["next"] = f"{to if way == 'next' else ''}/more?page=2"
        return answer(json.dumps(page).encode(), 200, headers)

    return given


def last_page(_: Asked) -> Raw:
    return answer(json.dumps({"data": [{**RECORD, "id": 2}], "next": None}).encode())


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Shop]:
    """A shop with a connector of these members."""

    def made(api: Hostile, members: dict[str, Any], **more: Any) -> Shop:
        return Shop(tmp_path, api.url, json.dumps({**HEAD, **members, **more}))

    return made


def shown(asked: Asked) -> str:
    return f"{asked.target}\n{asked.head}\n{asked.body.decode()}"


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_a_credential_to_another_host(way: str, shop: Callable[..., Shop]) -> None:
    members, ways = WAYS[way]
    with hostile(last_page) as elsewhere, hostile(last_page) as api:
        api.answer = misleading(ways, elsewhere.url)
        done = shop(api, members).tap(TAP_SAAS_LOGLEVEL="DEBUG")
    assert_honest(done, *SECRETS)
    assert any(KEY in shown(asked) or CLIENT_SECRET in shown(asked) for asked in api.asked) or any(
        face in shown(asked) for asked in api.asked for face in FACES
    )
    if way in STAYS:
        assert elsewhere.asked == []
        assert STAYS[way] in lines_of(done)[0]
        return
    assert len(elsewhere.asked) >= 1
    for asked in elsewhere.asked:
        assert [face for face in FACES if face in shown(asked)] == [], shown(asked)
        if "redirect" not in way and "event's" not in way:
            assert "X-Plain: 7" in asked.head


@pytest.mark.parametrize("way", ["the next link of a page", "the header Link", "a redirect"])
def test_a_host_that_the_connector_names_gets_them(way: str, shop: Callable[..., Shop]) -> None:
    members, ways = WAYS[way]
    with hostile(last_page) as elsewhere, hostile(last_page) as api:
        api.answer = misleading(ways, elsewhere.url)
        done = shop(api, members, http={"hosts": ["127.0.0.*"]}).tap()
    assert_honest(done, *SECRETS)
    assert done.code == 0
    assert all(FACES[-1] in asked.head for asked in elsewhere.asked)
    assert len(elsewhere.asked) >= 1
