"""What a user gives: names out of addresses, credentials that are never written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.authoring import address, limits
from tap_saas.authoring.writing import Entry, text
from tap_saas.connector.exchange import Headers
from tap_saas.errors import ConfigError

ENV = {"ACME_TOKEN": "t0ken-value-1", "TOKEN": "t0ken-value-2"}


@pytest.mark.parametrize(
    ("url", "name", "stream", "base_url", "path"),
    [
        ("https://api.acme.com/v1/orders", "acme", "orders", "https://api.acme.com/v1", "/orders"),
        ("https://acme.co.uk/v1/order-lines/", "acme", "order_lines", "https://acme.co.uk/v1",
         "/order-lines/"),
        ("http://127.0.0.1:8000/orders.json", "api", "orders", "http://127.0.0.1:8000",
         "/orders.json"),
        ("https://x.test/shops/123/sales", "x_test", "sales", "https://x.test/shops/123", "/sales"),
        ("https://a.dev/v2/items/8f14e45fceea167a5a36", "a_dev", "items", "https://a.dev/v2/items",
         "/8f14e45fceea167a5a36"),
        ("https://api.acme.com/", "acme", "records", "https://api.acme.com", "/"),
        ("https://api.acme.com/tag{1}", "acme", "tag_1", "https://api.acme.com", "/tag{{1}}"),
    ],
)  # fmt: skip
def test_names_come_from_the_address(
    url: str, name: str, stream: str, base_url: str, path: str
) -> None:
    read = address.read(url, env={})
    assert (read.name, read.stream, read.base_url, read.path) == (name, stream, base_url, path)
    assert read.request().url == url


@given(
    st.dictionaries(
        st.sampled_from(["status", "page", "a[b]", "api_key", "access_token", "x{y}"]),
        st.text("abc1{} &=", min_size=1, max_size=8),
        max_size=4,
    )
)
def test_the_request_is_what_the_address_says(params: dict[str, str]) -> None:
    from urllib.parse import urlencode

    plain = {k: v for k, v in params.items() if "{" not in v and "}" not in v}
    credentials = [name for name in plain if name in {"api_key", "access_token"}]
    url = f"https://acme.com/orders?{urlencode(plain)}"
    if len(credentials) > 1:
        with pytest.raises(ConfigError, match="more than one"):
            address.read(url, env={})
        return
    read = address.read(url, env={})
    assert dict(read.request().params) == {
        name: value for name, value in plain.items() if name not in credentials
    }
    assert set(read.values.values()) == {plain[name] for name in credentials}


@pytest.mark.parametrize(
    ("given", "auth", "settings"),
    [
        ({"bearer": "ACME_TOKEN"}, {"type": "bearer", "token": "{acme_token}"}, {"acme_token"}),
        ({"bearer": "TOKEN"}, {"type": "bearer", "token": "{api_token}"}, {"api_token"}),
        ({"basic": "me@acme.com:{ACME_TOKEN}"},
         {"type": "basic", "user": "me@acme.com", "password": "{acme_token}"}, {"acme_token"}),
        ({"basic": "{ACME_TOKEN}:"}, {"type": "basic", "user": "{acme_token}"}, {"acme_token"}),
        ({"basic": "me:t0ken-value-1"},
         {"type": "basic", "user": "me", "password": "{password}"}, {"password"}),
        ({"headers": ["X-Api-Key={ACME_TOKEN}"]},
         {"type": "key", "send": "header:X-Api-Key", "value": "{acme_token}"}, {"acme_token"}),
        ({"headers": ["X-Api-Key=t0ken-value-1", "Accept-Version=3"]},
         {"type": "key", "send": "header:X-Api-Key", "value": "{x_api_key}"}, {"x_api_key"}),
        ({"headers": ["X-Custom={ACME_TOKEN}"]},
         {"type": "key", "send": "header:X-Custom", "value": "{acme_token}"}, {"acme_token"}),
    ],
)  # fmt: skip
def test_credentials_become_settings(given: dict, auth: dict, settings: set[str]) -> None:
    read = address.read("https://api.acme.com/orders", env=ENV, **given)
    assert read.auth == auth
    assert set(read.settings) == settings
    assert all(one["secret"] and one["env"] for one in read.settings.values())
    written = "\n".join(text([Entry(key=key, value=value) for key, value in read.head.items()]))
    assert "t0ken-value" not in written
    assert read.connector().auth


@pytest.mark.parametrize(
    ("url", "given", "says"),
    [
        ("acme.com/orders", {}, "not one of the form"),
        ("https://a:secret-9@acme.com/x", {}, "holds a user or a password"),
        ("https://acme.com/x", {"bearer": "sk_live_secret-9"}, "takes the name of"),
        ("https://acme.com/x", {"bearer": "secret9"}, "the environment variable is not set"),
        ("https://acme.com/x", {"bearer": "NOT_SET"}, "variable NOT_SET is not set"),
        ("https://acme.com/x", {"basic": "secret-9"}, "not USER:PASSWORD"),
        ("https://acme.com/x", {"headers": ["secret-9"]}, "not NAME=VALUE"),
        ("https://acme.com/x?key=1", {"bearer": "ACME_TOKEN"}, "more than one credential"),
    ],
)
def test_a_wrong_option_is_told_and_no_secret(url: str, given: dict, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        address.read(url, env=ENV, **given)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value).replace("not the secret itself", "")


@pytest.mark.parametrize(
    ("headers", "budget"),
    [
        ({"RateLimit-Policy": '"default";q=100;w=60'},
         {"limits": [{"requests": 100, "per": "60s"}]}),
        ({"RateLimit-Limit": "100, 100;w=60, 1000;w=3600", "RateLimit-Remaining": "99",
          "RateLimit-Reset": "12"},
         {"limits": [{"requests": 100, "per": "60s"}, {"requests": 1000, "per": "3600s"}],
          "remaining": "header:RateLimit-Remaining",
          "reset": {"take": "header:RateLimit-Reset", "as": "delta_s"}}),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1767225600000"},
         {"remaining": "header:x-ratelimit-remaining",
          "reset": {"take": "header:x-ratelimit-reset", "as": "epoch_ms"}}),
        ({"X-Rate-Limit-Remaining": "7", "X-Rate-Limit-Reset": "Thu, 01 Jan 2026 00:00:00 GMT"},
         {"remaining": "header:X-Rate-Limit-Remaining",
          "reset": {"take": "header:X-Rate-Limit-Reset", "as": "http_date"}}),
        ({"X-RateLimit-Remaining": "7", "Retry-After": "5"}, None),
        ({"Content-Type": "application/json"}, None),
    ],
)  # fmt: skip
def test_limits_are_read_from_headers(headers: dict[str, str], budget: dict | None) -> None:
    found = limits.find(Headers(headers))
    assert found.budget == budget
    assert set(found.headers) == {name for name in headers if name != "Content-Type"}
