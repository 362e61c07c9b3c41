"""Both sides of the demo, counted: what the API has, what PostgreSQL has, whether they are the
same.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import requests

STREAMS = {
    "customers": "id::text",
    "orders": "id::text",
    "order_lines": "order_id::text || ':' || line_no::text",
    "events": "id::text",
}
_QUERY = """
SELECT {key} || E'\\t' ||
  to_char(updated_at::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
FROM {schema}.{table} WHERE _sdc_deleted_at IS NULL
"""


class Side(msgspec.Struct, frozen=True):
    """The records of a stream on one side: how many, and the digest of their keys and versions."""

    count: int
    digest: str


def api_side(url: str, stream: str) -> Side:
    """What the sandbox says is true."""
    truth = requests.get(f"{url}/_truth", params={"stream": stream}, timeout=30).json()
    return Side(truth["count"], truth["digest"])


def database_side(connection: Any, schema: str, stream: str) -> Side:
    """What stands in the stream's table."""
    connection.execute("SET timezone = UTC")  # what a timestamp without a zone is read in
    query = _QUERY.format(key=STREAMS[stream], schema=schema, table=stream)
    lines = sorted(f"{row[0]}\n".encode() for row in connection.execute(query))
    return Side(len(lines), hashlib.sha256(b"".join(lines)).hexdigest())


def requests_by_stream(url: str) -> dict[str, int]:
    """How many requests each stream's list has answered since the counts were reset."""
    counts = requests.get(f"{url}/_requests", timeout=30).json()["by_path"]
    paths = {
        "customers": "/customers",
        "orders": "/orders",
        "order_lines": "/orders/{order_id}/lines",
        "events": "/events",
    }
    return {stream: sum(counts.get(path, {}).values()) for stream, path in paths.items()}
