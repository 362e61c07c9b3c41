"""What a feed is: pages in an order that can be resumed, and the promise to note only what was
written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

import msgspec

from tap_saas.connector.exchange import Page
from tap_saas.sync.shape import Seen


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """A page with what the writer must know of it.

    `constant` are the partition's columns. `written` is called with the page's keys after its rows
    are on their way: only then may the bookmark speak of them. `since` is where the pass begins,
    for lists that the API cannot filter. `is_empty` marks a parent's whole reading that showed no
    child.
    """

    page: Page
    constant: Mapping[str, Any]
    written: Callable[[Seen], None]
    since: Any = None
    is_empty: bool = False


class Feed(Protocol):
    """A source of pages for one stream: pull, events and webhooks are three of them."""

    name: str

    def pages(self) -> Generator[Fed]:
        """The pages from where the bookmark stands; `written` notes what a page changes."""
        ...
