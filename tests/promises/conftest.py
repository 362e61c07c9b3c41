"""The tap and the target as processes, many of them: they share byte code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import byte_code
from sandbox_api import Sandbox, sandbox


@pytest.fixture(scope="session", autouse=True)
def _byte_code(request: pytest.FixtureRequest) -> Iterator[None]:
    with byte_code(request.config):
        yield


@pytest.fixture(scope="session")
def still() -> Iterator[Sandbox]:
    """A sandbox that no test changes."""
    with sandbox() as box:
        yield box


@pytest.fixture
def box(still: Sandbox) -> Iterator[Sandbox]:
    """The same with nothing going wrong, before and after."""
    still.calm()
    yield still
    still.calm()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    return tmp_path
