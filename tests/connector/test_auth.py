"""How requests are signed, and how OAuth tokens are asked for, read and renewed in time."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.auth import Auth, OAuth2, Select, check_settings, resolve
from tap_saas.connector.exchange import Headers, Request, Response
from tap_saas.connector.notation import decode_notation
from tap_saas.connector.token import Token
from tap_saas.errors import ConfigError, CredentialError

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
REQUEST = Request(url="https://api.example/orders", params=(("limit", "5"),))
OAUTH: dict[str, Any] = {
    "type": "oauth2",
    "grant": "client_credentials",
    "token_url": "https://login.example/{region}/token",
    "client": {"id": "{client_id}", "secret": "{client_secret}"},
}
SETTINGS = {"region": "eu", "client_id": "me & you", "client_secret": "p+q/r=", "first": "r0"}


def auth(raw: dict[str, Any]) -> Any:
    return msgspec.convert(raw, Auth, dec_hook=decode_notation)


def oauth(**more: Any) -> OAuth2:
    made = auth({**OAUTH, **more})
    assert isinstance(made, OAuth2)
    return made


def signed(raw: dict[str, Any], request: Request = REQUEST, **values: Any) -> Request:
    made = auth(raw).sign(request, values)
    assert isinstance(made, Request)
    return made


def answer(status: int = 200, value: Any = None, body: bytes | None = None) -> Response:
    return Response(
        status=status,
        headers=Headers({}),
        body=json.dumps(value).encode() if body is None else body,
        url="https://login.example/token",
        received_at=NOW,
        request_id="7f3a91",
    )


def token(life_s: float | None) -> Token:
    ends = None if life_s is None else NOW + timedelta(seconds=life_s)
    return Token(access_token="a1", obtained_at=NOW, expires_at=ends)


def test_none_signs_nothing() -> None:
    assert signed({"type": "none"}) == REQUEST


def test_bearer() -> None:
    made = signed({"type": "bearer", "token": "{api_key}"}, api_key="abc")
    assert made.headers == (("Authorization", "Bearer abc"),)


def test_basic_is_the_vector_of_rfc_7617() -> None:
    raw = {"type": "basic", "user": "{user}", "password": "{password}"}
    made = signed(raw, user="Aladdin", password="open sesame")
    assert made.headers == (("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),)
    made = signed(raw, user="test", password="123£")
    assert made.headers == (("Authorization", "Basic dGVzdDoxMjPCow=="),)


def test_basic_without_a_password_keeps_the_colon() -> None:
    made = signed({"type": "basic", "user": "{api_key}"}, api_key="sk_1")
    assert b64decode(made.headers[0][1].removeprefix("Basic ")) == b"sk_1:"


def test_a_key_goes_to_a_header_a_parameter_or_a_cookie() -> None:
    key = {"type": "key", "value": "{api_key}"}
    header = signed({**key, "send": "header:X-Api-Key"}, api_key="abc")
    assert header.headers == (("X-Api-Key", "abc"),)
    param = signed({**key, "send": "param:api_key"}, api_key="abc")
    assert param.params == (("limit", "5"), ("api_key", "abc"))
    request = REQUEST.with_header("Cookie", "theme=dark")
    cookie = signed({**key, "send": "cookie:session"}, request, api_key="abc")
    assert cookie.headers == (("Cookie", "theme=dark; session=abc"),)


def test_a_key_in_a_next_link_is_replaced_and_the_rest_of_the_link_kept() -> None:
    link = Request(url="https://api.example/x?a=%7E+1&api_key=old&c=a%2Cb", params=())
    made = signed({"type": "key", "send": "param:api_key", "value": "new"}, link)
    assert (made.url, made.params) == (
        "https://api.example/x?a=%7E+1&c=a%2Cb",
        (("api_key", "new"),),
    )


@pytest.mark.parametrize("send", ["X-Api-Key", "body:$.key", "header:", "status"])
def test_a_key_has_a_place(send: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="header:NAME, param:NAME or cookie:NAME"):
        auth({"type": "key", "value": "x", "send": send})


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "bearer", "token": "{api_key}"},
        {"type": "basic", "user": "{api_key}"},
        {"type": "key", "send": "header:X-Key", "value": "{api_key}"},
        {"type": "key", "send": "param:key", "value": "{api_key}"},
    ],
)
def test_a_credential_without_a_value_is_not_sent(raw: dict[str, Any]) -> None:
    assert signed(raw) == REQUEST
    assert auth(raw).names == {"api_key"}


@given(value=st.text(min_size=1, max_size=12))
def test_a_header_is_signed_or_refused_and_nothing_between(value: str) -> None:
    try:
        made = signed({"type": "bearer", "token": "{api_key}"}, api_key=value)
    except CredentialError:
        assert not value.isascii() or not value.isprintable() or value != value.strip()
        return
    sent = made.headers[0][1]
    assert sent == f"Bearer {value}"
    assert "\n" not in sent
    assert "\r" not in sent
    sent.encode("latin-1")


def test_a_line_break_at_the_end_of_a_key_names_the_setting_and_not_the_key() -> None:
    with pytest.raises(CredentialError) as caught:
        signed({"type": "bearer", "token": "{api_key}"}, api_key="abc\n")
    assert str(caught.value) == (
        "a credential holds a line break, an outer space or a letter that no header can carry;"
        " check the setting api_key"
    )


def test_client_credentials_are_a_form_with_basic_as_rfc_6749_writes_it() -> None:
    made = oauth(scope="read all", extra={"audience": "https://{region}.example"})
    request = made.token_request(SETTINGS)
    assert (request.method, request.url) == ("POST", "https://login.example/eu/token")
    basic = dict(request.headers)["Authorization"].removeprefix("Basic ")
    client, _, secret = b64decode(basic).decode().partition(":")
    assert (unquote_plus(client), unquote_plus(secret)) == ("me & you", "p+q/r=")
    assert client == "me+%26+you"
    assert request.body is not None
    assert dict(parse_qsl(request.body.encode()[0].decode())) == {
        "grant_type": "client_credentials",
        "scope": "read all",
        "audience": "https://eu.example",
    }


def test_a_client_may_be_sent_in_the_body() -> None:
    request = oauth(client={**OAUTH["client"], "send": "body"}).token_request(SETTINGS)
    assert request.body is not None
    assert dict(request.headers) == {"Accept": "application/json"}
    assert request.body.value["client_id"] == "me & you"
    assert request.body.value["client_secret"] == "p+q/r="


def test_a_client_without_a_secret_names_itself_in_the_body() -> None:
    request = oauth(client={"id": "{client_id}"}).token_request(SETTINGS)
    assert request.body is not None
    assert request.body.value == {"grant_type": "client_credentials", "client_id": "me & you"}


def test_the_newest_refresh_token_is_spent_first_the_configured_one() -> None:
    made = oauth(grant="refresh_token", refresh_token="{first}")
    for newest, sent in ((None, "r0"), ("r7", "r7")):
        body = made.token_request(SETTINGS, newest).body
        assert body is not None
        assert body.value["refresh_token"] == sent


@pytest.mark.parametrize(
    "more", [{"grant": "refresh_token"}, {"refresh_token": "{first}"}, {"grant": "password"}]
)
def test_a_grant_has_what_it_needs_and_no_more(more: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        oauth(**more)


def test_a_setting_that_is_empty_is_named() -> None:
    with pytest.raises(CredentialError, match="check the setting client_secret"):
        oauth().token_request({**SETTINGS, "client_secret": ""})


def test_a_token_answer_is_read_whole() -> None:
    value = {"access_token": "a1", "expires_in": 3600, "instance_url": "https://x.example"}
    read = oauth().read_token(answer(value=value), NOW)
    assert read.expires_at == NOW + timedelta(hours=1)
    assert read.answer["instance_url"] == "https://x.example"
    assert "a1" not in repr(read)


def test_a_refresh_token_is_kept_where_the_answer_has_no_new_one() -> None:
    made = oauth(grant="refresh_token", refresh_token="{first}")
    rotated = {"access_token": "a1", "refresh_token": "r1"}
    assert made.read_token(answer(value=rotated), NOW, "r0").refresh_token == "r1"
    assert made.read_token(answer(value={"access_token": "a1"}), NOW, "r0").refresh_token == "r0"


@pytest.mark.parametrize(
    ("expires_in", "life_s"),
    [
        ("1800", 1800),
        (2.5, 2.5),
        (0, None),
        (-1, None),
        ("soon", None),
        (None, None),
        (1e300, None),
    ],
)
def test_a_life_is_read_in_all_forms_that_apis_write(expires_in: Any, life_s: float | None) -> None:
    read = oauth().read_token(answer(value={"access_token": "a", "expires_in": expires_in}), NOW)
    assert read.expires_at == (None if life_s is None else NOW + timedelta(seconds=life_s))


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (
            answer(400, {"error": "invalid_grant", "error_description": "Token was revoked"}),
            "invalid_grant: Token was revoked",
        ),
        (answer(200, {"error": "bad_verification_code"}), "bad_verification_code"),
        (answer(403, body=b"<html>"), "status 403"),
        (answer(401, ["no"]), "status 401"),
    ],
)
def test_a_refusal_is_told_with_the_settings_to_check(response: Response, told: str) -> None:
    with pytest.raises(CredentialError) as caught:
        oauth().read_token(response, NOW)
    assert str(caught.value) == (
        f"no access token: {told} (request 7f3a91); check the settings client_id and client_secret"
    )


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        ("invalid_client", "settings client_id and client_secret"),
        ("unauthorized_client", "settings client_id and client_secret"),
        ("invalid_grant", "setting refresh"),
        ("invalid_scope", "setting scope"),
        ("invalid_request", "settings client_id, client_secret, refresh and scope"),
        (5, "settings client_id, client_secret, refresh and scope"),
    ],
)
def test_a_refusal_names_the_settings_that_it_is_about(error: Any, settings: str) -> None:
    scheme = oauth(grant="refresh_token", refresh_token="{refresh}", scope="{scope}")
    with pytest.raises(CredentialError) as caught:
        scheme.read_token(answer(400, {"error": error}), NOW)
    assert str(caught.value).endswith(f"; check the {settings}")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"access_token": 5}', b""])
def test_what_is_no_token_answer_is_a_broken_body(body: bytes) -> None:
    with pytest.raises(ValueError, match="token endpoint"):
        oauth().read_token(answer(body=body), NOW)


@given(life_s=st.floats(0.001, 10**7))
def test_a_token_is_renewed_early_by_the_smaller_of_60_s_and_a_tenth(life_s: float) -> None:
    life = timedelta(seconds=life_s)
    early = min(timedelta(seconds=60), life / 10)
    step = timedelta(microseconds=10)
    assert not oauth().is_due(token(life_s), NOW + life - early - step)
    assert oauth().is_due(token(life_s), NOW + life - early + step)


def test_early_may_be_said_but_half_of_a_life_is_always_used() -> None:
    made = oauth(early="5m")
    assert made.is_due(token(3600), NOW + timedelta(minutes=55))
    assert not made.is_due(token(3600), NOW + timedelta(minutes=54))
    assert not made.is_due(token(60), NOW + timedelta(seconds=29))


def test_a_token_without_an_end_is_never_due() -> None:
    assert not oauth().is_due(token(None), NOW + timedelta(days=3650))


def test_oauth_signs_with_the_access_token() -> None:
    made = oauth().sign(REQUEST, {"token": {"access_token": "a1"}})
    assert made.headers == (("Authorization", "Bearer a1"),)


def test_a_new_refresh_token_begins_a_new_chain() -> None:
    made = oauth(grant="refresh_token", refresh_token="{first}")
    assert made.chain(SETTINGS) == made.chain({**SETTINGS, "unrelated": 1})
    assert made.chain(SETTINGS) != made.chain({**SETTINGS, "first": "r1"})


SELECT: dict[str, Any] = {
    "type": "select",
    "by": "login",
    "of": {
        "key": {"type": "bearer", "token": "{api_key}"},
        "both": [
            {"type": "key", "send": "header:X-Id", "value": "{id}"},
            {"type": "select", "by": "is_eu", "of": {"true": {"type": "none"}, "false": OAUTH}},
        ],
    },
}


def test_select_takes_one_branch_lists_and_selects_inside_it_too() -> None:
    made = auth(SELECT)
    assert isinstance(made, Select)
    assert resolve([made], {"login": "key"}) == made.chosen({"login": "key"})
    kinds = [type(s).__name__ for s in resolve([made], {"login": "both", "is_eu": False})]
    assert kinds == ["Key", "OAuth2"]
    assert len(resolve([made], {"login": "both", "is_eu": True})) == 1
    assert made.names >= {"login", "is_eu", "api_key", "id", "client_secret"}


def test_a_list_is_applied_in_order() -> None:
    made = signed(SELECT, login="both", is_eu=True, id="7")
    assert made.headers == (("X-Id", "7"),)


def test_a_value_that_selects_nothing_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"setting login .*; set it to one of both, key"):
        auth(SELECT).chosen({"login": "other"})


def test_advice_reads_as_a_sentence() -> None:
    assert check_settings([]) == "check `auth` of the connector"
    assert check_settings(["a", "token"]) == "check the setting a"
    assert check_settings(["c", "a", "b"]) == "check the settings a, b and c"
