"""What a grant brings: an access token, and what came with it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and the whole JSON answer that brought it (RFC 6749 section 5.1)."""

    access_token: str
    obtained_at: datetime
    expires_at: datetime | None = None
    refresh_token: str | None = None
    answer: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: both tokens, and every text of the answer named like one."""
        told = [text for key, text in self.answer.items() if "token" in key and key != "token_type"]
        texts = (self.access_token, self.refresh_token, *told)
        return tuple(text for text in texts if isinstance(text, str))
