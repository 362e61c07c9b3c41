"""Links to a next page: those of the header `Link` (RFC 8288), and what must not stay in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Section 3: a target, then parameters whose values are words or quoted texts.
_TARGET: Final = re.compile(r"<([^<>]*)>")
_PARAMETER: Final = re.compile(
    r"""\s*;\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?"""
)


def links(header: str) -> Iterator[tuple[str, list[str]]]:
    """Each link's target and its relations in lower case; of several `rel` the first counts."""
    at = 0
    while target := _TARGET.search(header, at):
        at = target.end()
        relations: list[str] | None = None
        while parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            name, quoted, word = parameter.groups()
            if name.lower() == "rel" and relations is None:
                relations = (quoted or word or "").lower().split()
        yield target[1].strip(), relations or []


def without_params(link: str, names: frozenset[str]) -> str:
    """The link without the parameters of these names; as it is where it has none of them."""
    parts = urlsplit(link)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if not any(name in names for name, _ in pairs):
        return link
    kept = urlencode([pair for pair in pairs if pair[0] not in names])
    return urlunsplit(parts._replace(query=kept))
