"""The durable log that webhooks are kept in until the tables have them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from tap_saas.errors import ConfigError
from tap_saas.queues.base import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_saas.queues.base import Queue

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
        return _backend("sqlite", "apsw", "webhooks")(Path(url), write=write, limits=limits)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return _backend("sqlite", "apsw", "webhooks")(Path(rest[1:]), write=write, limits=limits)
    if scheme in _POSTGRES:
        return _backend("postgres", "psycopg", "postgres")(str(url), write=write, limits=limits)
    raise ConfigError(
        f"a queue cannot be kept at {scheme}://",
        do="name a file, sqlite:///file or postgresql://host/database",
    )


def _backend(name: str, library: str, extra: str) -> Callable[..., Queue]:
    """A backend's class; by name, so that nobody needs the libraries of the others."""
    try:
        module = importlib.import_module(f"tap_saas.queues.{name}")
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ConfigError(
            f"a queue of this kind needs {library}",
            do=f'install it: pip install "tap-saas[{extra}]"',
        ) from error
    backend: Callable[..., Queue] = getattr(module, f"{name.title()}Queue")
    return backend
