"""What tests of the client share: a quiet machine, and a sandbox."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tap_saas.sandbox.app import create_app
from tap_saas.sandbox.server import serving
from tap_saas.sandbox.world import World


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No proxy of the machine, and all our lines."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    caplog.set_level(logging.DEBUG, "tap_saas")


@pytest.fixture(scope="package")
def sandbox() -> Iterator[str]:
    """The URL of a sandbox with 20 orders."""
    with serving(create_app(World(customers=5, orders=20, events=5))) as url:
        yield url
