"""One run for the tests that only look at it."""

from __future__ import annotations

import pytest
from example_runs import run_of

from tap_saas.runs.run_file import RunFile


@pytest.fixture(scope="session")
def ten_seconds() -> RunFile:
    """A run of ten seconds that has ended well."""
    return run_of()
