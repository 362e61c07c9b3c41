"""Sync tokens: the API's own mark of how far it was read, and what follows a forgotten one."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from tap_saas.connector.events import EventLog
from tap_saas.connector.exchange import Page
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.responses import Rule, Verdict
from tap_saas.connector.webhook import WebhookSource
from tap_saas.sync.bookmark import Bookmark

log = logging.getLogger(__name__)


class SyncTokenExpired(Exception):  # noqa: N818 - a turn of events, no error
    """The API no longer knows the sync token: a full pass is due."""


def note(stream: str, bookmark: Bookmark, incremental: Incremental, page: Page | None) -> None:
    """Make the token of a pass's last page the watermark: all that it speaks of is written."""
    sync = incremental.sync_token
    assert sync is not None, "only asked for where there is one"
    token = None if page is None else sync.token.there(page.response)
    if not isinstance(token, str | int) or isinstance(token, bool):
        log.warning(
            "%s: the last page has no sync token at %s; the next pass begins where this one did",
            stream,
            sync.token,
        )
        return
    bookmark.move(incremental, token)


def watching(stream: Stream, since: Any) -> Stream:
    """The stream with a rule of its own for an answer that its token has expired."""
    rule = _rule(stream)
    if rule is None or since is None:
        return stream
    return msgspec.structs.replace(stream, responses=[rule, *stream.responses])


def has_expired(stream: Stream, verdict: Verdict | None) -> bool:
    """True for the verdict of that rule."""
    return verdict is not None and verdict.rule is not None and verdict.rule == _rule(stream)


def is_swept(connector: Connector, stream: Stream) -> bool:
    """True where rows may have to be marked as deleted after a full pass: the API tells of what is
    gone, or events do.
    """
    sources: list[EventLog | WebhookSource] = [*connector.events.values()]
    sources += connector.webhooks.values()
    return stream.deletes is not None or any(
        route.stream == stream.name for source in sources for route in source.routes
    )


def _rule(stream: Stream) -> Rule | None:
    sync = None if stream.incremental is None else stream.incremental.sync_token
    return None if sync is None else Rule(when=sync.expired, then="restart")
