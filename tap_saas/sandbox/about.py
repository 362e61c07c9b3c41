"""The page at `/`: what the sandbox serves, for somebody who looks at it for the first time."""

from __future__ import annotations

from typing import Any

from tap_saas.sandbox import faults, lists
from tap_saas.sandbox.oddities import TYPES
from tap_saas.sandbox.world import LINES, LISTS

ABOUT: dict[str, Any] = {
    "about": "An honest little SaaS API: customers, orders with lines, events, and odd records.",
    "auth": {
        "bearer": "Authorization: Bearer sandbox-key",
        "key": "X-Api-Key: sandbox-key",
        "query": "?api_key=sandbox-key",
        "basic": "user sandbox, password sandbox-key",
        "oauth2": {
            "token_url": "POST /oauth/token, a form or JSON",
            "client": "id sandbox, secret sandbox-secret, by basic or in the body",
            "grants": ["client_credentials", "refresh_token"],
            "first_refresh_token": "POST /_oauth/refresh_token {scope}",
            "refresh_tokens": "each refresh gives a new one, the used one is refused",
            "scopes": list(LISTS),
            "expires_in_s": "30; POST /_oauth {expires_in_s} sets it",
        },
    },
    "lists": {
        "paths": [f"/{name}" for name in LISTS] + ["/orders/{order_id}/lines"],
        "by_next_url": "/next/... answers {items, next}; takes limit and cursor",
        "by_link_header": '/link/... answers an array and Link: <...>; rel="next"; the same',
        "pagination": {
            "cursor": "limit, cursor -> {data, next_cursor, has_more, total}",
            "page": "page, per_page -> {data, page, per_page, pages, total}",
            "offset": "offset, limit -> {data, offset, limit, total}",
            "seek": "after (an id), limit -> {data, has_more}; its first page: sort=id",
        },
        "limit": f"{lists.DEFAULT_LIMIT}, at most {lists.MAX_LIMIT}; more is read as that",
        "filters": {
            "updated_after": "that instant and later",
            "updated_before": "earlier than that instant",
            "format": list(lists.FORMS),
        },
        "sort": ["updated_at (then id), the default", "-updated_at", "id"],
        "errors": "{error, message}; every answer has X-Request-Id and Date",
    },
    "records": {
        "customers": "id, name, email, phone, country, plan, credit, is_active, tags, address,"
        " created_at, updated_at; a new field may come: loyalty",
        "orders": "id, customer_id, number, status, currency, amount, discount (integer, later"
        " decimal), note, ordered_on, created_at, updated_at; a new field may come: channel",
        LINES: "line_no, sku, quantity, price, updated_at (that of the order); the key is the"
        " order's id and line_no",
        "events": "id, type, created (epoch seconds), updated_at, data {object_id, value (a number,"
        " sometimes a text)}; a new field may come: source",
        "oddities": TYPES,
    },
    "limits": {
        "/events": "1,000 requests in any 60 minutes, then 429 with Retry-After",
        "POST /_limits": "{path, requests (null: none), per_s}",
        "GET /_limits": "what is set and used",
        "DELETE /_limits": "as at the start",
    },
    "world": {
        "GET /_world": "sizes, and what changes by itself",
        "POST /_world/change": "{stream, update, insert, new_field}",
        "POST /_world/churn": "{stream, every_ms, stop_after}; DELETE stops",
        "POST /_world/late": "{stream, n}: an older version of n records once more, at the end of"
        " the list sorted by updated_at; filters see it at its place in the list",
    },
    "faults": {
        "POST /_faults": "{path (* allowed), kind, times (null: always), every, retry_after"
        " (seconds, date, null), after_s, delay_ms, length (truncate: cut, whole)}",
        "GET /_faults": "all, with how many requests they saw and hit",
        "DELETE /_faults": "none any more",
        "kinds": list(faults.KINDS),
    },
    "truth": {
        "GET /_truth": f"stream ({', '.join((*LISTS, LINES))}), full=1 -> {{stream, count, digest,"
        " max_version, records}}",
        "digest": "SHA-256 over the lines key TAB version LF, sorted as bytes; version: RFC 3339,"
        " UTC, six fraction digits, Z; key of a line: order_id:line_no",
        "GET /_requests": "counts by path and status, refresh_reuse, times [seconds of the"
        " monotonic clock, path, status (0: no answer)]; times=0 leaves them out; DELETE resets",
    },
}
