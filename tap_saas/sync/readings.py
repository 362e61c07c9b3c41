"""When a parent's children were last read: which of them are still there.

Children that are read whole carry `_parent_read_at`, the same for all that one reading shows. A
reading that shows none has no child to carry it: it leaves a row in the stream `_readings`. The
target's view `<table>_current` shows the children of their parent's last reading.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from singer_sdk import Tap

from tap_saas.connector.model import Stream
from tap_saas.sync.ledgers import LedgerStream
from tap_saas.sync.partitions import parent_stream

STREAM = "_readings"
COLUMN = "_parent_read_at"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "stream": {"type": ["string", "null"]},
        "parent": {"type": ["object", "null"]},
        "read_at": {"type": ["string", "null"], "format": "date-time"},
    },
    "x-version": "read_at",
}


def has_readings(stream: Stream) -> bool:
    """True for children that are read whole, parent by parent."""
    parent = parent_stream(stream)
    is_whole = stream.incremental is None and bool(stream.key_columns)
    return parent is not None and is_whole and parent.batch is None


def annotation(stream: Stream) -> dict[str, Any]:
    """What SCHEMA tells the target's side (`x-current`): the parent's columns, the instant's."""
    if not has_readings(stream):
        return {}
    return {"x-current": {"parent": list(stream.context), "at": COLUMN, "empty": STREAM}}


def readings_stream(tap: Tap) -> LedgerStream:
    """The stream `_readings`."""
    return LedgerStream(tap, STREAM, _SCHEMA, ("id",))


def row(stream: str, parent: Mapping[str, Any], read_at: str) -> dict[str, Any]:
    """The record of a reading that showed no child."""
    named = json.dumps([stream, parent], sort_keys=True, default=str)
    return {
        "id": hashlib.sha256(named.encode()).hexdigest(),
        "stream": stream,
        "parent": dict(parent),
        "read_at": read_at,
    }
