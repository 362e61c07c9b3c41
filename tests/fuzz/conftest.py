"""One hostile server for all examples of a module, and folders that are cheap."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_api import Hostile, hostile
from hostile_shop import right


@pytest.fixture(scope="session")
def api() -> Iterator[Hostile]:
    """The shop's API; each example says what it answers."""
    with hostile(right) as server:
        yield server


@pytest.fixture(scope="session")
def place_for() -> Iterator[Path]:
    """A folder for the folders of examples, in memory where there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _elsewhere(place_for: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `home` that is any text is a folder of the working directory."""
    monkeypatch.chdir(place_for)
