"""What is true now: keys, newest versions and their digest.

The digest is the SHA-256, in hex, of the lines `key<TAB>version<LF>` in UTF-8, sorted as bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from tap_saas.sandbox.instants import iso_us


class Truth(NamedTuple):
    """The records of a stream, without stale copies; `lines` are sorted."""

    digest: str
    max_version: str | None
    lines: list[bytes]

    def pairs(self) -> list[list[str]]:
        """Every [key, version], sorted as the lines are."""
        return [line.decode().rstrip("\n").split("\t") for line in self.lines]


def tell(records: Iterable[tuple[str, int]]) -> Truth:
    """The truth over (key, version in milliseconds)."""
    newest = -1
    lines = []
    for key, version in records:
        newest = max(newest, version)
        lines.append(f"{key}\t{iso_us(version)}\n".encode())
    lines.sort()
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return Truth(digest.hexdigest(), iso_us(newest) if lines else None, lines)
