"""The view `<table>_current`: of children that are read whole, those that are still there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from psycopg.sql import SQL, Identifier, Literal

from target_config.columns import MAX_NAME_BYTES
from target_config.database import Connection
from target_config.streams import Stream

_VIEW = Path(__file__).with_name("current.sql").read_text(encoding="utf-8")
_COMMENT = """
SELECT obj_description(c.oid, 'pg_class')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'v'
"""


def view_name(stream: Stream) -> str:
    """The view's name, shortened with a hash when it is too long."""
    name = f"{stream.table}_current"
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.sha256(stream.table.encode()).hexdigest()[:12]
    return f"{name.encode()[: MAX_NAME_BYTES - 13].decode(errors='ignore')}_{digest}"


def script(stream: Stream) -> str:
    """The SQL that makes the view of a stream's table.

    Raises: `AssertionError` for a stream without one.
    """
    current = stream.current
    assert current is not None, "only children that are read whole have such a view"
    parent = list(map(Identifier, current.parent))
    parts = {
        "view": Identifier(stream.schema, view_name(stream)),
        "table": Identifier(stream.schema, stream.table),
        "readings": Identifier(stream.schema, current.empty),
        "at": Identifier(current.at),
        "parent": SQL(", ").join(parent),
        "same_parent": SQL(" AND ").join(
            SQL("shown.{0} IS NOT DISTINCT FROM child.{0}").format(one) for one in parent
        ),
        "stream": Literal(stream.name),
        "named": SQL(", ").join(
            SQL("{}, child.{}").format(Literal(name), Identifier(name)) for name in current.parent
        ),
        "comment": Literal(comment(stream)),
    }
    return SQL(_VIEW).format(**parts).as_string()


def comment(stream: Stream) -> str:
    """What the view was made from: another set of columns wants another view."""
    told = repr((_VIEW, stream.current, sorted(stream.columns)))
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    return f"tap-saas: the children of their parent's last reading ({digest})"


def stands(connection: Connection, stream: Stream) -> bool:
    """True where the view is there as it should be, or none is wanted."""
    if stream.current is None:
        return True
    found = connection.execute(_COMMENT, (stream.schema, view_name(stream))).fetchone()
    return found is not None and found[0] == comment(stream)


def drop(connection: Connection, stream: Stream) -> None:
    """Take the view away: its table cannot be altered under it."""
    if stream.current is not None:
        view = Identifier(stream.schema, view_name(stream))
        connection.execute(SQL("DROP VIEW IF EXISTS {}").format(view))
