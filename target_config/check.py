"""Saying what is wrong with a database before rows go in; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from target_config.database import Connection, connect
from target_config.plan import Plan, read_plans
from target_config.prepare import key_differs
from target_config.settings import target_settings
from target_config.streams import read_streams

_UTC_ZONES = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Zulu")
_PREPARE = "run saasctl target prepare"


class Problem(msgspec.Struct, frozen=True):
    """One thing that would lose, repeat or shift rows: `table: what; do`."""

    stream: str
    table: str
    what: str
    do: str

    @property
    def line(self) -> str:
        """The problem in one line."""
        return f"{self.table}: {self.what}; {self.do}"


def check(
    database_url: str,
    messages: Iterable[Mapping[str, Any]],
    *,
    schema: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Return all that stands between the database and the SCHEMA messages; empty when it is ready.

    Raises: `TargetConfigError` when the database cannot be asked.
    """
    config = target_settings(database_url, schema=schema, settings=settings)
    streams = read_streams(messages, str(config["default_target_schema"]))
    with connect(database_url) as connection:
        zone = _session_zone(connection)
        plans = read_plans(connection, streams)
    return [
        Problem(plan.stream.name, plan.stream.qualified, what, do)
        for plan in plans
        for what, do in (*_problems(plan, zone), *_shifts(zone, bool(config["use_copy"])))
    ]


def _shifts(zone: str, use_copy: bool) -> Iterator[tuple[str, str]]:
    """Without COPY the target sends instants as local time: one hour a year is there twice."""
    if zone not in _UTC_ZONES and not use_copy:
        yield (
            f"the session's time zone is {zone}: INSERT shifts the hour when clocks go back",
            "run target-postgres with PGTZ=UTC, or ALTER DATABASE ... SET timezone = 'UTC'",
        )


def _problems(plan: Plan, zone: str) -> Iterator[tuple[str, str]]:
    if plan.table is None:
        yield "there is no such table", _PREPARE
        return
    if plan.missing:
        yield f"lacks {', '.join(plan.missing)}", _PREPARE
    for change in plan.migrations:
        what = f"{change.column} is {change.existing} and cannot take {change.wanted}"
        yield what, f"run: {change.sql}"
    if plan.naive:
        shift = f"; this session's time zone {zone} shifts them" if zone not in _UTC_ZONES else ""
        yield f"{', '.join(plan.naive)} without a time zone{shift}", _PREPARE
    if plan.key == "lacks":
        yield f"lacks the key ({', '.join(plan.stream.key)})", _PREPARE
    if plan.key == "differs":
        error = key_differs(plan)
        yield error.what.partition(" ")[2], error.do
    if plan.guard_fault:
        yield plan.guard_fault, _PREPARE


def _session_zone(connection: Connection) -> str:
    row = connection.execute("SHOW TimeZone").fetchone()
    assert row is not None
    return str(row[0])
