"""Reaching PostgreSQL: URLs for both drivers, and failures told in one line.

A URL is handed to target-postgres for SQLAlchemy (`postgresql+psycopg://`) and to libpq without the
driver. Nothing here shows a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from target_config.errors import TargetConfigError

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 60

_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://")

Connection = psycopg.Connection[tuple[object, ...]]


def _rest(database_url: str) -> str:
    match = _SCHEME.match(database_url)
    if match is None:
        raise TargetConfigError(
            "the database URL is not one of PostgreSQL",
            "write it as postgresql://USER:PASSWORD@HOST:5432/DATABASE",
        )
    return database_url[match.end() :]


def target_url(database_url: str) -> str:
    """Return the URL as target-postgres needs it for COPY."""
    return f"postgresql+psycopg://{_rest(database_url)}"


def libpq_url(database_url: str) -> str:
    """Return the URL as libpq reads it."""
    return f"postgresql://{_rest(database_url)}"


def place(database_url: str) -> str:
    """Return `host:port/database` of a URL, as an error line shows it."""
    try:
        facts = conninfo_to_dict(libpq_url(database_url))
    except psycopg.ProgrammingError:
        facts = {"host": "@"}
    host = str(facts.get("host") or "localhost")
    if "@" in host:  # a part of the password: it is not shown
        raise TargetConfigError(
            "the database URL cannot be read",
            "write special characters of user and password as %XX",
        )
    return f"{host}:{facts.get('port') or 5432}/{facts.get('dbname') or ''}"


@contextmanager
def connect(database_url: str) -> Iterator[Connection]:
    """Open a connection in autocommit mode; what waits for a lock gives up after 60 s.

    Raises: `TargetConfigError` when PostgreSQL does not let us in.
    """
    where = place(database_url)
    try:
        connection = psycopg.connect(
            libpq_url(database_url), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
    except psycopg.OperationalError as cause:
        raise _refusal(where, str(cause)) from None
    with connection:
        connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        yield connection


def _refusal(where: str, reason: str) -> TargetConfigError:
    line = _first_line(reason.rpartition("FATAL:")[2])
    line = line.rpartition(" failed: ")[2].strip()
    if "password authentication" in line or "no password supplied" in line:
        do = "correct user and password in the database URL"
    elif "does not exist" in line:
        do = "create it, or correct the database URL"
    else:
        do = "start PostgreSQL, or correct the database URL"
    return TargetConfigError(f"PostgreSQL at {where} does not let us in: {line}", do)


@contextmanager
def telling(table: str) -> Iterator[None]:
    """Turn what PostgreSQL refuses while `table` is changed into one line."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as cause:
        raise TargetConfigError(
            f"{table}: {cause.diag.message_primary}", "run this as the owner of the table"
        ) from None
    except psycopg.errors.LockNotAvailable:
        raise TargetConfigError(
            f"{table} is in use for more than {LOCK_TIMEOUT_S} s",
            "run this again when no other run writes into it",
        ) from None
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.DependentObjectsStillExist) as cause:
        raise TargetConfigError(
            f"{table}: {cause.diag.message_primary} ({cause.diag.message_detail})",
            "drop that view, run this again, and create the view anew",
        ) from None
    except psycopg.Error as cause:
        told = cause.diag.message_primary or _first_line(str(cause))
        raise TargetConfigError(f"{table}: {told}", "run this again once that is solved") from None


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else "no reason given"
