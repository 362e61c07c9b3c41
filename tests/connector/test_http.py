"""To whom credentials may go."""

from __future__ import annotations

import pytest

from tap_saas.connector.http import HttpOptions, is_private

BASE = "https://api.acme.example/v1"


@pytest.mark.parametrize(
    ("url", "is_trusted"),
    [
        ("https://api.acme.example/other", True),
        ("https://API.acme.example:443/v1", True),
        ("https://files.acme.example/x", True),
        ("http://api.acme.example/v1", False),
        ("https://api.acme.example:8443/v1", False),
        ("https://acme.example/x", False),
        ("https://api.acme.example.evil.example/", False),
        ("https://api.acme.example@evil.example/", False),
        ("https://evil.example/?u=https://api.acme.example", False),
        ("ftp://api.acme.example/", False),
        ("/relative", False),
    ],
)
def test_credentials_go_to_the_api_alone(url: str, is_trusted: bool) -> None:
    options = HttpOptions(hosts=["files.ACME.example", "*.files.acme.example"])
    assert options.trusts(url, BASE) is is_trusted


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://a.example", True),
        ("http://localhost:80/", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8080/", True),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.1", False),
        ("http://a.example:https", False),
        ("nothing", False),
    ],
)
def test_plain_http_is_private_on_this_machine_only(url: str, private: bool) -> None:
    assert is_private(url) is private


def test_a_broken_port_is_no_trusted_url() -> None:
    assert not HttpOptions().trusts("https://api.acme.example:x/", BASE)


def test_plain_http_is_never_trusted_even_by_an_api_that_has_no_other() -> None:
    base = "http://api.acme.example/v1"
    assert not HttpOptions(hosts=["api.acme.example"]).trusts(f"{base}/me", base)
    assert HttpOptions().trusts("http://127.0.0.1:80/x", "http://127.0.0.1/v1")
