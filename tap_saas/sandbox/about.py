"""The page at `/`: what the sandbox serves, for somebody who looks at it for the first time."""

from __future__ import annotations

from typing import Any

from tap_saas.sandbox import faults, lists, log
from tap_saas.sandbox.oddities import TYPES
from tap_saas.sandbox.world import LINES, LISTS

ABOUT: dict[str, Any] = {
    "about": "An honest little SaaS API: customers, orders with lines, events, and odd records;"
    " a log of what happens, and webhooks.",
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
        "ids": "ids=1,2,3 (customers, orders, events): those of them that are there",
        "one": "/customers/{id}, /orders/{id}, /events/{id}: the record alone, or 404",
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
    "deletes": {
        "lists": "a deleted record is in none, and its path is a 404",
        "include_deleted": "true: the list has it, with is_deleted, at the time of its deletion",
        "/orders/deleted": "(customers, events) id, updated_at and deleted_at of what is deleted;"
        " since: that instant and later; else as a list",
    },
    "log": {
        "/log": "what happened to customers and orders: id, seq, type, created (epoch seconds),"
        " occurred_at, data {object: the record, of a deleted one its id}",
        "types": list(log.TYPES),
        "sort": ["created (then seq), the default", "-created: newest first", "seq"],
        "filters": "created_after, created_before, format; after (a seq), limit; as a list",
        "kept": f"the latest {log.KEPT}",
        "POST /_world/hold": "{n}: the next n events are seen only after",
        "POST /_world/release": "which is late: after younger ones",
        "POST /_world/forget": "{keep}: all but the latest events are gone",
    },
    "webhooks": {
        "POST /webhooks": "{url (http, on loopback), types (order.*, default all), signature,"
        " secret (default: a new one), expires_in_s (default a day)} -> 201 {id, secret, ...}",
        "GET /webhooks": "all; /webhooks/{id} one; DELETE /webhooks/{id}",
        "POST /webhooks/{id}/renew": "{expires_in_s}",
        "body": "an event as in the log, again until the answer is 2xx",
        "signatures": {
            "standard": "webhook-id, webhook-timestamp, webhook-signature: v1,<base64 of"
            " HMAC-SHA256 over id.timestamp.body with the base64 after whsec_ as the key>",
            "stamped": "Sandbox-Event-Id, Sandbox-Signature: t=<time>,v1=<hex of HMAC-SHA256 over"
            " time.body with the secret as the key>",
        },
        "POST /_webhooks": "{double_every, lose_every, forge_every (0: none), delay_ms,"
        " disorder_ms, retry_ms, attempts}",
        "GET /_webhooks": "what waits, counts, and each delivery with its statuses (0: no answer);"
        " deliveries=0 leaves them out",
        "DELETE /_webhooks": "nothing waits, nothing is counted, nothing goes wrong",
    },
    "limits": {
        "/events": "1,000 requests in any 60 minutes, then 429 with Retry-After",
        "POST /_limits": "{path, requests (null: none), per_s}",
        "GET /_limits": "what is set and used",
        "DELETE /_limits": "as at the start",
    },
    "world": {
        "GET /_world": "sizes, and what changes by itself",
        "POST /_world/change": "{stream, update, insert, delete, restore, new_field}: numbers, or"
        " lists of ids (but for insert)",
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
