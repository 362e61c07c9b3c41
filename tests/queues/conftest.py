"""A queue of each backend for the contract: the same tests pass on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from arrivals import Opener

from tap_saas.queues import open_queue
from tap_saas.queues.base import Limits, Queue


@pytest.fixture(params=["sqlite", "postgres"])
def queue_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a test's queue is kept."""
    if request.param == "postgres":
        return str(request.getfixturevalue("database"))
    return str(tmp_path / "queue.db")


@pytest.fixture
def opener(queue_url: str) -> Iterator[Opener]:
    """Opens the test's queue, as often as it likes; all is closed at the end."""
    with ExitStack() as stack:

        def opened(*, write: bool = False, limits: Limits | None = None) -> Queue:
            return stack.enter_context(closing(open_queue(queue_url, write=write, limits=limits)))

        yield opened


@pytest.fixture
def queue(opener: Opener) -> Queue:
    """The receiver's queue."""
    return opener(write=True)
