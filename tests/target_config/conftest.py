"""The real target-postgres, run as a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from singer_lines import Target


@pytest.fixture(scope="session", autouse=True)
def _byte_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the target's processes share byte code where the environment forbids to keep it."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("pyc")))
        yield


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """An open connection in autocommit mode to the test's own database."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def target(database: str, tmp_path: Path) -> Target:
    """The real target on the test's own database."""
    return Target(database, tmp_path)
