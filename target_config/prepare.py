"""Making a database ready for a tap's streams: tables by the target, date-times, keys, guards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from target_config import current, guard
from target_config.columns import Migration
from target_config.database import Connection, connect, telling
from target_config.errors import TargetConfigError
from target_config.plan import Plan, read_plans
from target_config.settings import target_settings
from target_config.streams import Stream, read_streams
from target_config.target import send_schemas


class TableReport(msgspec.Struct, frozen=True):
    """What was done to one table, in words, and which columns still need a migration."""

    stream: str
    table: str
    done: tuple[str, ...]
    migrations: tuple[Migration, ...]


class PrepareReport(msgspec.Struct, frozen=True):
    """What `prepare` did, one entry a stream."""

    tables: tuple[TableReport, ...]

    @property
    def is_ready(self) -> bool:
        """No column needs a migration: the tap may run."""
        return not any(table.migrations for table in self.tables)

    @property
    def has_changed(self) -> bool:
        """Something was done."""
        return any(table.done for table in self.tables)

    @property
    def lines(self) -> list[str]:
        """What was done and what is to be done, one line each."""
        told = [f"{table.table}: {', '.join(table.done)}" for table in self.tables if table.done]
        for table in self.tables:
            told += [
                f"{table.table}: {change.column} is {change.existing} and cannot take"
                f" {change.wanted}; run: {change.sql}"
                for change in table.migrations
            ]
        return told


def prepare(
    database_url: str,
    messages: Iterable[Mapping[str, Any]],
    *,
    schema: str | None = None,
    executable: str = "target-postgres",
    settings: Mapping[str, Any] | None = None,
    migrate: bool = False,
) -> PrepareReport:
    """Make tables, date-times, keys and guards as the SCHEMA messages want them; idempotent.

    A table with a column that needs a migration is left alone and reported; `migrate` runs those
    migrations that lose nothing. `settings` beat the ones we ship, `schema` beats both.

    Raises: `TargetConfigError`, one line, when the database or the target does not let us.
    """
    config = target_settings(database_url, schema=schema, settings=settings)
    if not config["add_record_metadata"]:
        raise TargetConfigError(
            "add_record_metadata is false: without _sdc_ columns no row can be guarded",
            "set add_record_metadata: true",
        )
    streams = read_streams(messages, str(config["default_target_schema"]))
    with connect(database_url) as connection:
        plans = read_plans(connection, streams)
        if all(plan.is_done or _is_blocked(plan, migrate) for plan in plans):
            return _report(plans, {})
        with telling("the database"):  # one preparation at a time, until the connection ends
            connection.execute("SELECT pg_advisory_lock(%s, 0)", (guard.LOCK_CLASS,))
        return _Work(connection, streams, executable, config).run(migrate)


class _Work:
    """One preparation that has something to do; what is done to a table is kept in words."""

    def __init__(
        self,
        connection: Connection,
        streams: Sequence[Stream],
        executable: str,
        config: Mapping[str, Any],
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._executable = executable
        self._config = config
        self._done: dict[str, list[str]] = {stream.name: [] for stream in streams}

    def run(self, migrate: bool) -> PrepareReport:
        """Widen, let the target make what is missing, then finish each table in one transaction."""
        plans = read_plans(self._connection, self._streams)
        if migrate:
            for plan in plans:
                self._widen(plan)
            plans = read_plans(self._connection, self._streams)
        lacking = [plan for plan in plans if plan.missing and not plan.migrations]
        if lacking:
            plans = self._extend(lacking)
        for plan in plans:
            if not plan.migrations and not plan.is_done:
                with telling(plan.stream.qualified), self._connection.transaction():
                    self._finish(plan)
        for plan in plans:
            if not plan.migrations and not current.stands(self._connection, plan.stream):
                with telling(plan.stream.qualified), self._connection.transaction():
                    self._make_view(plan)
        return _report(plans, self._done)

    def _widen(self, plan: Plan) -> None:
        for change in plan.migrations:
            if change.is_safe:
                with telling(plan.stream.qualified), self._connection.transaction():
                    current.drop(self._connection, plan.stream)
                    self._connection.execute(change.sql)
                self._tell(plan, f"{change.column} widened from {change.existing}")

    def _extend(self, lacking: Sequence[Plan]) -> list[Plan]:
        send_schemas(self._executable, self._config, [plan.stream.message for plan in lacking])
        plans = read_plans(self._connection, self._streams)
        for plan in lacking:
            added = f"columns added: {', '.join(plan.missing)}"
            self._tell(plan, "created" if plan.table is None else added)
        for plan in plans:
            if plan.missing and not plan.migrations:
                raise TargetConfigError(
                    f"{plan.stream.qualified} lacks {', '.join(plan.missing)} after the target ran",
                    "leave stream_maps and flattening to the tap, not to the target",
                )
        return plans

    def _finish(self, plan: Plan) -> None:
        table = Identifier(plan.stream.schema, plan.stream.table)
        if plan.naive:
            current.drop(self._connection, plan.stream)
            # In UTC this cast takes the stored values as they are: no row is written anew.
            self._connection.execute("SET LOCAL TIME ZONE 'UTC'")
            change = SQL("ALTER COLUMN {} TYPE timestamp with time zone")
            changes = SQL(", ").join(change.format(Identifier(name)) for name in plan.naive)
            self._connection.execute(SQL("ALTER TABLE {} {}").format(table, changes))
            self._tell(plan, f"with time zone: {', '.join(plan.naive)}")
        if plan.key == "differs":
            raise key_differs(plan)
        if plan.key == "lacks":
            self._add_key(plan, table)
        if plan.guard_fault:
            self._connection.execute(guard.script(plan.stream))
            self._tell(plan, guard.comment(plan.stream.version).removeprefix("tap-saas "))

    def _make_view(self, plan: Plan) -> None:
        """The view of the children that are still there, after all tables: it reads two."""
        current.drop(self._connection, plan.stream)
        self._connection.execute(current.script(plan.stream))
        self._tell(plan, f"view {current.view_name(plan.stream)}")

    def _add_key(self, plan: Plan, table: Identifier) -> None:
        columns = SQL(", ").join(map(Identifier, plan.stream.key))
        try:
            self._connection.execute(
                SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(table, columns)
            )
        except (psycopg.errors.UniqueViolation, psycopg.errors.NotNullViolation) as cause:
            raise TargetConfigError(
                f"{plan.stream.qualified} cannot get the primary key"
                f" ({', '.join(plan.stream.key)}): {cause.diag.message_primary}"
                f" {cause.diag.message_detail or ''}".rstrip(),
                "delete the rows with doubled or empty keys, then run this again",
            ) from None
        self._tell(plan, f"primary key ({', '.join(plan.stream.key)})")

    def _tell(self, plan: Plan, what: str) -> None:
        self._done[plan.stream.name].append(what)


def key_differs(plan: Plan) -> TargetConfigError:
    """Return the error of a table whose primary key is not the stream's."""
    assert plan.table is not None
    primary = next(key for key in plan.table.keys if key.is_primary)
    wanted = ", ".join(plan.stream.key)
    table = Identifier(plan.stream.schema, plan.stream.table)
    line = SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, Identifier(primary.name))
    if plan.stream.key:
        columns = SQL(", ").join(map(Identifier, plan.stream.key))
        line += SQL(", ADD PRIMARY KEY ({})").format(columns)
    return TargetConfigError(
        f"{plan.stream.qualified} has the primary key ({', '.join(sorted(primary.columns))}),"
        f" the stream has {f'({wanted})' if wanted else 'none'}",
        f"run: {line.as_string()};",
    )


def _is_blocked(plan: Plan, migrate: bool) -> bool:
    """Only migrations that we may not run are left to do."""
    return bool(plan.migrations) and not (migrate and any(c.is_safe for c in plan.migrations))


def _report(plans: Sequence[Plan], done: Mapping[str, Sequence[str]]) -> PrepareReport:
    return PrepareReport(
        tuple(
            TableReport(
                stream=plan.stream.name,
                table=plan.stream.qualified,
                done=tuple(done.get(plan.stream.name, ())),
                migrations=plan.migrations,
            )
            for plan in plans
        )
    )
