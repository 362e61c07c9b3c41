"""The durable log that webhooks are kept in until the tables have them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_saas.errors import ConfigError
from tap_saas.queues.base import Limits

if TYPE_CHECKING:
    from tap_saas.queues.base import Queue
    from tap_saas.queues.wreck import Salvaged

DEFAULT_NAME = "queue.db"
_POSTGRES = ("postgresql", "postgres")


def open_queue(url: str | Path, *, write: bool, limits: Limits | None = None) -> Queue:
    """The queue that a URL or a path names: `sqlite:///path`, `postgresql://...`, `queue.db`.

    `write` is for a receiver: it makes what is missing and may append; a SQLite file has one only.

    Raises:
        ConfigError: the URL is unknown, or an extra is not installed.
        QueueError: the queue cannot be used.
    """
    scheme, separator, rest = str(url).partition("://")
    if not separator:
        return _sqlite(Path(url), write=write, limits=limits)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return _sqlite(Path(rest[1:]), write=write, limits=limits)
    if scheme in _POSTGRES:
        module = _module("postgres", "psycopg", "postgres")
        queue: Queue = module.PostgresQueue(str(url), write=write, limits=limits)
        return queue
    raise ConfigError(
        f"a queue cannot be kept at {scheme}://",
        do="name a file, sqlite:///file or postgresql://host/database",
    )


def salvage(path: Path, queue: Queue) -> Salvaged:
    """Put back into a queue what can be read of a damaged file that a receiver put aside.

    Raises:
        ConfigError: the file is no queue's, or an extra is not installed.
        QueueError: nothing can be read from it, or the queue cannot take more.
    """
    salvaged: Salvaged = _module("wreck", "apsw", "webhooks").salvage(path, queue)
    return salvaged


def _sqlite(path: Path, *, write: bool, limits: Limits | None) -> Queue:
    queue: Queue = _module("sqlite", "apsw", "webhooks").SqliteQueue(
        path, write=write, limits=limits
    )
    return queue


def _module(name: str, library: str, extra: str) -> Any:
    """A module of ours by name, so that nobody needs the libraries of the others."""
    try:
        return importlib.import_module(f"tap_saas.queues.{name}")
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ConfigError(
            f"a queue of this kind needs {library}",
            do=f'install it: pip install "tap-saas[{extra}]"',
        ) from error
