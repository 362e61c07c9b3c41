"""Many processes: they share byte code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import byte_code


@pytest.fixture(scope="session", autouse=True)
def _byte_code(request: pytest.FixtureRequest) -> Iterator[None]:
    with byte_code(request.config):
        yield
