"""The checkpoint in a Singer state: where each stream goes on, and when it was last complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "last_cursor": "last_cursor",
    "last_success_ts": "last_success_ts",
    "watermark": "replication_key_value",
}


def read(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`{stream: {last_cursor, last_success_ts, watermark}}` of the streams in a state."""
    return {
        stream: {name: bookmark.get(key) for name, key in NAMES.items()}
        for stream, bookmark in (state.get("bookmarks") or {}).items()
        if not stream.startswith("_")
    }
