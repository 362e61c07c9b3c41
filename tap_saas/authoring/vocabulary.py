"""The words by which APIs name the same few things: in lower case, of several words joined."""

from __future__ import annotations

from typing import Final

# Where records are, and lists that stand beside them.
LISTS: Final = frozenset({
    "data", "items", "results", "result", "records", "value", "values", "entries", "entry", "list",
    "rows", "objects", "elements", "content", "hits", "edges", "nodes", "resources", "response",
    "docs", "documents",
})  # fmt: skip
ASIDE: Final = frozenset({
    "error", "errors", "warning", "warnings", "link", "links", "included", "facet", "facets",
    "filter", "filters", "aggregations", "meta", "metadata", "columns", "fields", "schema", "sort",
    "permissions", "messages",
})  # fmt: skip
WRAPPERS: Final = ("node", "resource", "item")

# Names of keys, and words that no key's name has.
KEYS: Final = frozenset({"id", "uuid", "guid", "uid", "gid", "key", "ref", "identifier"})
NUMBERED: Final = frozenset({
    "number", "code", "slug", "sku", "no", "handle", "sequence", "seq", "token",
})  # fmt: skip
NO_KEYS: Final = frozenset({
    "at", "on", "date", "time", "timestamp", "updated", "created", "modified", "changed", "amount",
    "price", "total", "sum", "email", "phone", "description", "note", "notes", "text", "url", "uri",
    "link", "links", "href", "title", "etag", "hash",
})  # fmt: skip
SECRETS: Final = frozenset({
    "key", "apikey", "hapikey", "token", "secret", "password", "passwd", "pwd", "auth",
    "authorization", "signature", "sig", "cookie", "credential", "credentials", "bearer", "session",
})  # fmt: skip

# Dates: of the last change and of the beginning (how their words begin), of an event, of a plan.
CHANGED: Final = (
    "updat", "modif", "chang", "edited", "mtime", "modstamp", "lastmod", "lastupd",
)  # fmt: skip
CREATED: Final = ("creat", "insert", "added", "ctime")
HAPPENED: Final = frozenset({
    "timestamp", "ts", "occurred", "happened", "time", "date", "logged", "event", "received",
    "seen",
})  # fmt: skip
PLANNED: Final = frozenset({"due", "start", "end", "until", "since", "expires", "expiry"})
TIMELY: Final = HAPPENED | PLANNED | {"at", "on"}

# Pages: is there more, where does it go on, how many are there.
MORE: Final = frozenset({
    "hasmore", "more", "hasnext", "hasnextpage", "moreitems", "hasmoreitems", "morerecords",
    "moreitemsincollection",
})  # fmt: skip
LAST: Final = frozenset({
    "endofstream", "islast", "islastpage", "lastpage", "last", "done", "finished", "complete",
    "iscomplete", "end", "isend", "nomore",
})  # fmt: skip
CURSORS: Final = frozenset({
    "cursor", "continuation", "continuationtoken", "marker", "scrollid", "bookmark", "endcursor",
    "aftercursor", "offset", "after", "pagetoken",
})  # fmt: skip
LINKS: Final = frozenset({"url", "link", "links", "href", "uri"})
TOTALS: Final = frozenset({
    "total", "count", "totalcount", "totalresults", "totalrecords", "totalitems", "totalsize",
    "totalelements", "totalhits", "recordcount", "numfound", "xtotalcount", "xwptotal",
})  # fmt: skip
PAGE_NUMBERS: Final = frozenset({
    "page", "currentpage", "pagenumber", "pageno", "number", "pageindex",
})  # fmt: skip
OFFSETS: Final = frozenset({"offset", "skip", "start", "startat", "startindex", "from", "first"})

# Parameters of requests, the commonest first.
AFTER_PARAMS: Final = ("starting_after", "after", "since_id", "after_id")
SIZE_PARAMS: Final = (
    "limit", "per_page", "page_size", "pageSize", "size", "count", "maxResults", "perPage",
    "page[size]", "$top", "max_results", "rows", "first", "take", "page[limit]", "pagesize",
)  # fmt: skip
CHANGED_PARAMS: Final = (
    "updated_after", "updated_since", "modified_since", "since", "updated_at_min", "modified_after",
    "updated[gte]", "updated_at[gte]", "updatedAfter", "updatedSince", "modifiedSince",
    "start_time", "updatedMin", "updated_from", "updated_at__gte", "changed_since",
    "min_updated_at",
)  # fmt: skip
CREATED_PARAMS: Final = (
    "created[gte]", "created_after", "created_since", "since", "created_at_min", "createdAfter",
    "created_at[gte]", "start_time", "oldest", "created_from", "created_at__gte", "after",
)  # fmt: skip
FROM_WORDS: Final = frozenset({"since", "after", "min", "gte", "from", "start", "oldest"})
