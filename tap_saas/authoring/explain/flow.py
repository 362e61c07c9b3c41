"""What one run of a stream does, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from tap_saas.authoring.explain import words
from tap_saas.authoring.explain.answers import backoff
from tap_saas.authoring.explain.asking import url
from tap_saas.authoring.explain.changes import moved
from tap_saas.authoring.explain.ends import ends
from tap_saas.authoring.explain.imagined import Asked
from tap_saas.connector.model import Stream


def flow(stream: Stream, asked: Sequence[Asked]) -> list[str]:
    """The steps in their order."""
    watermark = "the watermark, " if stream.incremental else ""
    steps = [f"load STATE: {watermark}last_cursor and last_success_ts, all null at first"]
    own = [f"{one.request.method} {_relative(one)}" for one in asked if one.stream == stream.name]
    if own:
        steps.append(f"ask: {', then '.join(own[:2])}, and so on")
    steps += [
        f"429: wait for Retry-After, else {backoff(stream.retry)}, and ask again",
        "check each record; a bad one becomes a reject and is counted",
        f"write the page: the target's staging table, then {_upsert(stream)}",
        f"then STATE: last_cursor is the next page{_watermark(stream)}",
        f"stop at {words.listed(ends(stream.pagination), 'or')}: last_cursor is null again, "
        "last_success_ts is now; STATE is kept atomically",
    ]
    return steps


def _relative(own: Asked) -> str:
    """The request's path and query."""
    parts = urlsplit(url(own.request))
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _upsert(stream: Stream) -> str:
    keys = ", ".join(stream.key_columns)
    if not keys:
        return "an append (there is no primary_key)"
    version = stream.version_column
    return f"an upsert by {keys}" + (f"; the newest {version} wins" if version else "")


def _watermark(stream: Stream) -> str:
    return f"; the watermark {moved(stream.incremental)}" if stream.incremental else ""
