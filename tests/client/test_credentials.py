"""To whom credentials go, and that nobody else sees them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clients import BEARER, FAST, KEY, Asker
from loopback import CERTIFICATE, OK, Answer, Seen, in_turn, serve

from tap_saas.client.client import Where
from tap_saas.client.session import canonical
from tap_saas.connector.exchange import Body, Request
from tap_saas.connector.http import HttpOptions
from tap_saas.errors import ApiError, ConfigError, CredentialError, TapSaasError


def test_a_401_names_the_setting_and_is_not_asked_again() -> None:
    answer = Answer(401, b'{"message": "bad key"}', {"X-Request-Id": "7f3a91"})
    with serve(in_turn(answer)) as server, Asker(server.url) as asker:
        with pytest.raises(CredentialError) as caught:
            asker.ask(page=2)
        assert len(server.seen) == 1
    assert str(caught.value) == (
        "orders: page 2: 401 Unauthorized: bad key (request 7f3a91); check the setting api_key"
    )
    assert caught.value.exit_code == 4


def test_a_403_says_what_the_key_may_not() -> None:
    with (
        serve(in_turn(Answer(403, b"no"))) as server,
        Asker(server.url) as asker,
        pytest.raises(CredentialError) as caught,
    ):
        asker.ask()
    assert str(caught.value) == (
        "orders: page 1: 403 Forbidden: no; check the setting api_key, and what it may read"
    )


def test_a_redirect_to_another_host_carries_no_credentials() -> None:
    headers = {"X-Tenant": "7"}
    secret = {"X-Also-Secret": f"v={KEY}", "Cookie": "a=b"}
    with serve(in_turn(OK)) as other, serve(redirecting(other.url + "/x?a=1")) as server:
        with Asker(server.url) as asker:
            pairs = tuple({**headers, **secret}.items())
            request = Request(url=server.url + "/orders", params=(("q", "1"),), headers=pairs)
            asker.ask(request=request)
        (first,), (second,) = server.seen, other.seen
    assert first.headers["Authorization"] == f"Bearer {KEY}"
    assert first.headers["X-Also-Secret"] == f"v={KEY}"
    assert second.path == "/x?a=1"
    assert second.headers["X-Tenant"] == "7"
    assert not {"Authorization", "X-Also-Secret", "Cookie"} & set(second.headers)
    assert KEY not in str(second.headers)


def redirecting(to: str, status: int = 302, times: int = 1) -> Callable[[Seen], Answer]:
    return in_turn(*[Answer(status, headers={"Location": to})] * times, OK)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_keeps_them(status: int) -> None:
    with serve(redirecting("/v2/orders", status)) as server, Asker(server.url) as asker:
        outcome = asker.ask()
        assert outcome.response.url == f"{server.url}/v2/orders"
        assert [seen.headers["Authorization"] for seen in server.seen] == [f"Bearer {KEY}"] * 2
        assert asker.counts["requests"] == 2


def test_redirects_end_after_five() -> None:
    with serve(redirecting("/orders", times=99)) as server, Asker(server.url) as asker:
        with pytest.raises(ApiError, match="302 Found: redirected more than 5 times"):
            asker.ask()
        assert len(server.seen) == 6


def test_a_post_is_not_redirected() -> None:
    with serve(redirecting("/elsewhere")) as server, Asker(server.url) as asker:
        request = Request(method="POST", url=server.url + "/search", body=Body("json", {"a": 1}))
        with pytest.raises(ApiError, match="302 Found"):
            asker.ask(request=request)
        (seen,) = server.seen
    assert seen.headers["Content-Type"] == "application/json"
    assert json.loads(seen.body) == {"a": 1}


def test_no_redirect_from_https_to_http() -> None:
    with serve(in_turn(OK)) as plain, serve(redirecting(plain.url), tls=True) as server:
        with (
            Asker(server.url, http={"ca_file": str(CERTIFICATE)}) as asker,
            pytest.raises(ApiError, match="redirected from https to plain http"),
        ):
            asker.ask()
        assert plain.seen == []


def test_a_next_link_elsewhere_is_asked_without_credentials_and_the_refusal_says_so() -> None:
    def closed(seen: Seen) -> Answer:
        return OK if "Authorization" in seen.headers else Answer(401)

    with serve(closed) as other, serve(in_turn(OK)) as server:
        with Asker(server.url) as asker, pytest.raises(CredentialError) as caught:
            asker.ask(f"{other.url}/orders?page=2", page=2)
        host = other.url.removeprefix("http://")
        assert str(caught.value) == (
            'orders: page 2: 401 Unauthorized: {"data": []};'
            f" {host} is not the host of base_url and got no credentials; see http.hosts"
        )
        with Asker(server.url, http={"hosts": ["127.0.0.*"]}) as asker:
            assert asker.ask(f"{other.url}/orders?page=2").verdict.then == "ok"


def test_plain_http_is_refused_with_credentials_but_on_loopback() -> None:
    with Asker("http://api.invalid") as asker, pytest.raises(ConfigError) as caught:
        asker.ask()
    assert str(caught.value) == (
        "http://api.invalid: orders: page 1: credentials over plain http can be read on the way;"
        " use https in base_url"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://evil.example\\@api.example/x", "evil.example"),
        ("https://evil.example#@api.example/", "evil.example"),
        ("https://EVIL.example/", "evil.example"),
    ],
)
def test_an_address_means_the_host_that_it_is_sent_to(url: str, host: str) -> None:
    assert urlsplit(canonical(url)).netloc == host
    assert not HttpOptions().trusts(canonical(url), "https://api.example")


@pytest.mark.parametrize(
    "url",
    ["https://api.example@evil.example/", "ftp://a.example/", "orders", "https://", "http://["],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ApiError, match="is not an address of the form https://host/path"):
        canonical(url)


def test_netrc_adds_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other-secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(in_turn(OK)) as server, Asker(server.url) as asker:
        asker.ask()
        with Asker(server.url, auth=[]) as open_api:
            open_api.ask()
    assert [seen.headers["Authorization"] for seen in server.seen] == [f"Bearer {KEY}", None]


def test_a_credential_parameter_is_in_no_address_that_we_keep() -> None:
    auth = [{"type": "key", "send": "param:api_key", "value": "{api_key}"}]
    with serve(in_turn(OK)) as server, Asker(server.url, auth=auth) as asker:
        outcome = asker.ask(f"/orders?api_key={KEY}&page=2")
        assert server.paths() == [f"/orders?page=2&api_key={KEY}"]
        assert asker.ask("/orders").response.url == f"{server.url}/orders"
        assert outcome.verdict.then == "ok"


def test_a_password_too_short_to_be_masked_is_masked_in_its_header() -> None:
    def echo(seen: Seen) -> Answer:
        return Answer(400, seen.headers["Authorization"].encode())

    auth = [{"type": "basic", "user": "me", "password": "{password}"}]
    with (
        serve(echo) as server,
        Asker(server.url, auth=auth, values={"password": "abc"}) as asker,
        pytest.raises(ApiError) as caught,
    ):
        asker.ask()
    assert str(caught.value) == "orders: page 1: 400 Bad Request: ***"


def test_a_secret_in_a_request_id_is_masked() -> None:
    answer = Answer(headers={"X-Request-Id": f"7-{KEY}"})
    with serve(in_turn(answer)) as server, Asker(server.url) as asker:
        assert asker.ask().response.request_id == "7-***"


def test_no_secret_appears_anywhere_whatever_goes_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that shows every credential it got, in whatever goes wrong at random."""
    chance = random.Random(11)
    secrets = {"api_key": KEY, "user": "me@x.example", "password": "pässwort ¥/+"}
    basic = {"type": "basic", "user": "{user}", "password": "{password}"}
    in_param = {"type": "key", "send": "param:key", "value": "{api_key}"}
    in_cookie = {"type": "key", "send": "cookie:sid", "value": "{api_key}"}

    def answer(seen: Seen) -> Answer:
        shown = f"{seen.path} {seen.headers.as_string()} {json.dumps(secrets)} {secrets}"
        status = chance.choice([200, 302, 400, 401, 403, 404, 429, 500, 503])
        ids = {"X-Request-Id": f"id-{KEY}-{KEY[:3]}"}
        if status == 302:
            return Answer(status, headers={"Location": f"http://[{KEY}", **ids})
        body = chance.choice([shown, json.dumps({"message": shown}), f"<html><title>{shown}", ""])
        return Answer(
            status,
            body.encode(),
            {"Retry-After": KEY} | (ids if chance.random() < 0.5 else {}),
            missing=chance.choice([0, 0, 0, 7]),
            reset=chance.random() < 0.1,
        )

    told = []
    retry = {**FAST, "attempts": 3, "total": "2s"}
    for auth in ([BEARER], [basic], [in_param, basic], [in_cookie]):
        with (
            serve(answer) as server,
            Asker(server.url, auth=auth, values=secrets, retry=retry) as a,
        ):
            for page in range(10):
                where = Where(stream="orders", page=page, page_token=f"{server.url}?key={KEY}")
                try:
                    a.ask(f"/orders?key={KEY}", where=where)
                except TapSaasError as error:
                    told.append(str(error))
            told.append(json.dumps(a.report.rows()))
    everything = "\n".join(told + [record.getMessage() for record in caplog.records])
    assert len(told) > 20
    assert "***" in everything
    for secret in (KEY, "pässwort", "p%C3%A4sswort", "p\\u00e4sswort", "bWVAeC5leGFtcGxlO"):
        assert secret not in everything
