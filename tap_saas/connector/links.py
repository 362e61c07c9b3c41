"""Links to a next page: those of the header `Link` (RFC 8288), and what must not stay in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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


def without_params(link: str, leaves: Callable[[str, str], bool]) -> str:
    """The link without the parameters that `leaves(name, value)` leaves out, else as it is."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link  # no link at all, as whoever asks for it will say
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if not any(leaves(*pair) for pair in pairs):
        return link
    kept = urlencode([pair for pair in pairs if not leaves(*pair)])
    return urlunsplit(parts._replace(query=kept))
