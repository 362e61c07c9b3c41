"""The newest-wins guard of a table: its SQL, and whether it stands."""

from __future__ import annotations

import hashlib
from pathlib import Path

from psycopg.sql import SQL, Composable, Identifier, Literal

from target_config.catalog import Table
from target_config.columns import MAX_NAME_BYTES
from target_config.streams import Stream, Version

LOCK_CLASS = 1952542835
"""First half of the advisory lock's key; the second is the table's OID."""

TRIGGERS = ("tap_saas_guard_lock", "tap_saas_guard_row", "tap_saas_guard_same")

_GUARD = Path(__file__).with_name("guard.sql").read_text(encoding="utf-8")


def script(stream: Stream) -> str:
    """Return the SQL that installs the guard of a stream's table, or replaces it."""
    table = Identifier(stream.schema, stream.table)
    parts = {
        "function": Identifier(stream.schema, function_name(stream.table)),
        "table": table,
        "lock_class": Literal(LOCK_CLASS),
        "same_key": SQL(" AND ").join(
            SQL("{0}.{1} = NEW.{1}").format(table, Identifier(column)) for column in stream.key
        ),
        "comment": Literal(comment(stream.version)),
        "keep_reading": _keep_reading(stream),
        "carry_reading": _carry_reading(stream),
        **_version_parts(stream.version),
    }
    return SQL(_GUARD).format(**parts).as_string()


def _keep_reading(stream: Stream) -> Composable:
    """A reading has shown the row, though what it showed is stale."""
    if stream.current is None:
        return SQL("")
    at = Identifier(stream.current.at)
    return SQL("IF NEW.{0} > coalesce(OLD.{0}, '-infinity') THEN OLD.{0} := NEW.{0};").format(
        at
    ) + SQL(
        " OLD._sdc_table_version := greatest(OLD._sdc_table_version, NEW._sdc_table_version);"
        " RETURN OLD; END IF;"
    )


def _carry_reading(stream: Stream) -> Composable:
    """What comes outside of a reading says nothing of when the last one was."""
    if stream.current is None:
        return SQL("")
    return SQL("NEW.{0} := coalesce(NEW.{0}, OLD.{0});").format(Identifier(stream.current.at))


def comment(version: Version | None) -> str:
    """Return the comment on the guard's function: what it compares, for people and for `check`."""
    if version is None:
        return "tap-saas guard: the last to come wins"
    how = " as text" if version.as_text else ""
    return f"tap-saas guard: newest wins by {version.column}{how}"


def _version_parts(version: Version | None) -> dict[str, Composable]:
    if version is None:
        return {"is_older": SQL("false"), "is_same": SQL("false"), "keep_version": SQL("")}
    column = Identifier(version.column)
    collate = SQL(' COLLATE "C"') if version.as_text else SQL("")
    new, old = SQL("NEW.{}{}").format(column, collate), SQL("OLD.{}{}").format(column, collate)
    older = SQL("({new} < {old} OR ({new} IS NULL AND {old} IS NOT NULL))")
    return {
        "is_older": older.format(new=new, old=old),
        "is_same": SQL("{} IS NOT DISTINCT FROM {}").format(new, old),
        "keep_version": SQL("OLD.{0} := NEW.{0};").format(column),
    }


def function_name(table: str) -> str:
    """Return the name of a table's guard function, shortened with a hash when it is too long."""
    name = f"tap_saas_guard_{table}"
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(table.encode()).hexdigest()[:12]
    return f"{name.encode()[: MAX_NAME_BYTES - 13].decode(errors='ignore')}_{digest}"


def fault(stream: Stream, table: Table) -> str | None:
    """Say what is wrong with a table's guard; `None` when it stands or none is needed."""
    if not stream.key:
        return None
    for name in TRIGGERS:
        trigger = table.triggers.get(name)
        if trigger is None:
            return "has no guard" if not table.triggers else f"lacks the trigger {name}"
        if not trigger.is_enabled:
            return f"has its trigger {name} disabled"
    row = table.triggers["tap_saas_guard_row"]
    if row.comment != comment(stream.version):
        return f"has another guard ({row.comment}), the stream wants: {comment(stream.version)}"
    body = script(stream).split("$guard$")[1]
    lock = table.triggers["tap_saas_guard_lock"]
    if row.body != body or lock.function != row.function:
        return "has a guard of another make"
    return None
