"""A connector as text: keys in flow style where they fit on a line, comments above them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z_$/][\w$./-]*(?::[\w$./-]+)*|\d+(?:ms|[smhd])", re.ASCII)
_SPECIAL = frozenset(["null", "true", "false"])


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A key with its value and what is said above it; without a value the comments stand alone.

    `off` is a key that is written as a comment, to be taken over by hand.
    """

    key: str = ""
    value: Any = None
    comments: Sequence[str] = ()
    off: bool = False


def scalar(value: Any) -> str:
    """A scalar, quoted where YAML would read another thing."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _SPECIAL:
        return value
    return json.dumps(value, ensure_ascii=False)


def flow(value: Any) -> str:
    """A value on one line: `{type: cursor, next: $.next}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(key: str, value: Any, depth: int = 0) -> list[str]:
    """A key with its value: on one line where that fits, else its members on lines below."""
    indent = "  " * depth
    line = f"{indent}{scalar(key)}: {flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, Mapping) or not value:
        return [line]
    inner = [text for name, one in value.items() for text in block(name, one, depth + 1)]
    return [f"{indent}{scalar(key)}:", *inner]


def text(entries: Sequence[Entry], depth: int = 0) -> list[str]:
    """The lines of a map."""
    indent = "  " * depth
    lines: list[str] = []
    for entry in entries:
        for comment in entry.comments:
            lines += _comment(comment, indent)
        if not entry.key:
            continue
        own = block(entry.key, entry.value, depth)
        if entry.off:
            own = [f"{indent}# {line[len(indent) :]}" for line in own]
        lines += own
    return lines


def _comment(comment: str, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(comment.split()),
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )
