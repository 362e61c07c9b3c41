"""Who may read what: five kinds of credentials, tokens that end, refresh tokens that rotate."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tap_saas.sandbox.world import World

from .conftest import Api

CLIENT = ("sandbox", "sandbox-secret")
LIST_PATHS = ["/customers", "/orders", "/events", "/oddities", "/orders/1/lines"]


def ask(api: Api, path: str = "/orders", **how: Any) -> requests.Response:
    return requests.get(api.url + path, timeout=10, **how)


def token(api: Api, **form: str) -> requests.Response:
    return requests.post(f"{api.url}/oauth/token", data=form, auth=CLIENT, timeout=10)


def bearer(access_token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {access_token}"}}


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Authorization": "Bearer sandbox-key"}},
        {"headers": {"Authorization": "bearer sandbox-key"}},
        {"headers": {"X-Api-Key": "sandbox-key"}},
        {"auth": ("sandbox", "sandbox-key")},
        {"params": {"api_key": "sandbox-key"}},
    ],
)
@pytest.mark.parametrize("path", [*LIST_PATHS, "/next/orders", "/link/events"])
def test_every_list_takes_every_kind(api: Api, path: str, how: dict[str, Any]) -> None:
    assert ask(api, path, **how).status_code == 200


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"headers": {"Authorization": "Bearer sandbox-kez"}},
        {"headers": {"Authorization": "Basic ???"}},
        {"headers": {"Authorization": "Digest sandbox-key"}},
        {"headers": {"X-Api-Key": ""}},
        {"auth": ("sandbox", "wrong")},
        {"params": {"api_key": "wrong"}},
    ],
)
@pytest.mark.parametrize("path", LIST_PATHS)
def test_wrong_credentials_are_401_in_json(api: Api, path: str, how: dict[str, Any]) -> None:
    response = ask(api, path, **how)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
    assert "Bearer" in response.headers["WWW-Authenticate"]


def test_client_credentials_by_header_form_and_json(api: Api) -> None:
    secret = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
    form = {"grant_type": "client_credentials"}
    url = f"{api.url}/oauth/token"
    answers = [
        requests.post(url, data=form, auth=CLIENT, timeout=10),
        requests.post(url, data={**form, **secret}, timeout=10),
        requests.post(url, json={**form, **secret}, timeout=10),
    ]
    for answer in answers:
        body = answer.json()
        assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "Bearer", 30)
        assert "refresh_token" not in body
        assert ask(api, **bearer(body["access_token"])).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials", "scope": "admin"}, 400, "invalid_scope"),
        ({"grant_type": "refresh_token", "refresh_token": "rt_x"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token"}, 400, "invalid_grant"),
    ],
)
def test_token_endpoint_refuses(api: Api, form: dict[str, str], status: int, error: str) -> None:
    answer = token(api, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_wrong_client_is_invalid(api: Api) -> None:
    form = {"grant_type": "client_credentials"}
    answer = requests.post(f"{api.url}/oauth/token", data=form, auth=("sandbox", "no"), timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_token_without_the_scope_is_403(api: Api) -> None:
    access = token(api, grant_type="client_credentials", scope="customers").json()["access_token"]
    assert ask(api, "/customers", **bearer(access)).status_code == 200
    for path in ("/orders", "/orders/1/lines", "/next/orders"):
        response = ask(api, path, **bearer(access))
        assert (response.status_code, response.json()["error"]) == (403, "insufficient_scope")


def test_access_token_ends_on_time(shared_api: Api) -> None:
    now = 100.0
    shared_api.serve(World(customers=1, orders=1, events=1), clock=lambda: now)
    shared_api.post("/_oauth", expires_in_s=2)
    body = token(shared_api, grant_type="client_credentials").json()
    assert body["expires_in"] == 2
    now = 101.9
    assert ask(shared_api, **bearer(body["access_token"])).status_code == 200
    now = 102.0
    assert ask(shared_api, **bearer(body["access_token"])).status_code == 401


def test_refresh_tokens_rotate_and_reuse_is_counted(api: Api) -> None:
    first = api.post("/_oauth/refresh_token")["refresh_token"]
    answer = token(api, grant_type="refresh_token", refresh_token=first).json()
    assert ask(api, **bearer(answer["access_token"])).status_code == 200
    assert answer["refresh_token"] != first
    again = token(api, grant_type="refresh_token", refresh_token=first)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert api.read("/_requests")["refresh_reuse"] == 1
    second = answer["refresh_token"]
    assert token(api, grant_type="refresh_token", refresh_token=second).status_code == 200
    api.delete("/_requests")
    assert api.read("/_requests")["refresh_reuse"] == 0


def test_refresh_keeps_the_scope_that_was_given(api: Api) -> None:
    first = api.post("/_oauth/refresh_token", scope="customers")["refresh_token"]
    wider = token(api, grant_type="refresh_token", refresh_token=first, scope="orders")
    assert wider.json()["error"] == "invalid_scope"
    answer = token(api, grant_type="refresh_token", refresh_token=first).json()
    assert ask(api, "/orders", **bearer(answer["access_token"])).status_code == 403
