"""The tap and the target as processes, many of them: they share byte code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_api import Sandbox, sandbox


@pytest.fixture(scope="session", autouse=True)
def _byte_code(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep byte code in pytest's cache: without it the target takes two seconds more to start."""
    cache = request.config.cache
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        if cache is not None:
            patch.setenv("PYTHONPYCACHEPREFIX", str(cache.mkdir("bytecode")))
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
