"""Walks that go round in circles, noticed with bounded memory."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable

from tap_saas.connector.exchange import Page, PageToken
from tap_saas.connector.paginator import shown
from tap_saas.errors import ApiError

REMEMBERED = 100_000  # page tokens of a walk, about 10 MB


class Circles:
    """Notices a token that comes again, and a page that is the same as the one before."""

    def __init__(self) -> None:
        self._tokens: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._body = b""

    def token(self, token: PageToken | None, fail: Callable[[str], ApiError]) -> None:
        """Raises ApiError for a page token that this walk has asked with before."""
        text = json.dumps(token, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        if digest in self._tokens:
            raise fail(
                f"the page token {shown(token_text(token))} comes again: the list never ends"
            )
        self._tokens.add(digest)
        self._order.append(digest)
        if len(self._order) > REMEMBERED:
            self._tokens.discard(self._order.popleft())

    def page(self, page: Page, fail: Callable[[str], ApiError]) -> None:
        """Raises ApiError for a page that is, byte by byte, the one before."""
        # The caller works on the page before, so that its body is in memory anyway.
        if page.received and page.response.body == self._body:
            raise fail("the page is the same as the one before: the list never ends")
        self._body = page.response.body


def token_text(token: PageToken) -> str:
    """A page token as messages show it."""
    return token if isinstance(token, str) else json.dumps(token)
