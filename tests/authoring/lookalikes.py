"""Lists as well-known kinds of APIs have them, each small, strict where the kind is strict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from small_apis import Asked, Handler, Record, RefusalError, Reply, opaque, place

T0 = datetime(2025, 1, 1, 8, tzinfo=UTC)
NEW_YORK = timezone(timedelta(hours=-5))


class Thing(NamedTuple):
    """A record before an API writes it."""

    n: int
    created: datetime
    updated: datetime


class World:
    """The records of a list; `touch` changes some and adds one, later than all."""

    def __init__(self, count: int = 137) -> None:
        self.things = [
            Thing(n, T0 + timedelta(minutes=17 * n), T0 + timedelta(minutes=17 * n, hours=n % 7))
            for n in range(1, count + 1)
        ]

    def touch(self) -> set[int]:
        """Update three records and add one; their numbers."""
        now = max(thing.updated for thing in self.things) + timedelta(minutes=5)
        changed = {3, 50, len(self.things)}
        self.things = [
            thing._replace(updated=now + timedelta(seconds=thing.n))
            if thing.n in changed
            else thing
            for thing in self.things
        ]
        new = len(self.things) + 1
        now += timedelta(minutes=10)
        self.things.append(Thing(new, now, now))
        return {*changed, new}

    def by(self, field: str, *, since: datetime | None = None, newest: bool = False) -> list[Thing]:
        """The things sorted by a date, those from an instant on."""
        known = [one for one in self.things if since is None or getattr(one, field) >= since]
        return sorted(known, key=lambda one: (getattr(one, field), one.n), reverse=newest)


def iso(instant: datetime) -> str:
    """`2025-01-31T08:30:00Z`."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso(asked: Asked, name: str) -> datetime | None:
    text = asked.params.get(name)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise RefusalError(400, f"{name} is no date") from None


def _epoch(asked: Asked, name: str) -> datetime | None:
    text = asked.params.get(name)
    if text is None:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        raise RefusalError(422, f"{name} is no number of seconds") from None


def payments(world: World) -> Handler:
    """`starting_after` and `has_more`, newest first, created[gte], nothing unknown is taken."""

    def record(one: Thing) -> Record:
        return {
            "id": f"ch_{one.n:05}", "object": "charge", "amount": one.n * 7, "currency": "eur",
            "created": int(one.created.timestamp()), "paid": one.n % 2 == 0, "metadata": {},
        }  # fmt: skip

    def answer(asked: Asked) -> Reply:
        if not asked.headers.get("Authorization", "").startswith("Basic "):
            raise RefusalError(401, "no key")
        asked.only("limit", "starting_after", "created[gte]")
        limit = asked.whole("limit", 10)
        if not 1 <= limit <= 100:
            raise RefusalError(400, "limit is from 1 to 100")
        records = [
            record(x) for x in world.by("created", since=_epoch(asked, "created[gte]"), newest=True)
        ]
        after = asked.params.get("starting_after")
        at = 0
        if after is not None:
            ids = [one["id"] for one in records]
            if after not in ids:
                raise RefusalError(400, "no such charge")
            at = ids.index(after) + 1
        body = {"object": "list", "data": records[at : at + limit], "url": asked.path}
        return Reply({**body, "has_more": at + limit < len(records)})

    return answer


def issues(world: World) -> Handler:
    """An array with a Link header, `since` by the last change, rate limits in headers."""

    def answer(asked: Asked) -> Reply:
        size, page = min(asked.whole("per_page", 30), 100), asked.whole("page", 1)
        things = world.by("updated", since=_iso(asked, "since"))
        things.sort(key=lambda one: -one.n)
        at = (page - 1) * size
        body = [
            {"id": 9000 + one.n, "number": one.n, "title": f"Issue {one.n}", "state": "open",
             "user": {"login": "ada", "id": 1}, "created_at": iso(one.created),
             "updated_at": iso(one.updated)}
            for one in things[at : at + size]
        ]  # fmt: skip
        links = [f'<{asked.link(page=1, per_page=size)}>; rel="first"']
        if at + size < len(things):
            links.insert(0, f'<{asked.link(page=page + 1, per_page=size)}>; rel="next"')
        limits = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4990"}
        reset = str(int(datetime.now(UTC).timestamp()) + 3000)
        return Reply(body, 200, {"Link": ", ".join(links), **limits, "X-RateLimit-Reset": reset})

    return answer


def contacts(world: World) -> Handler:
    """`paging.next.after` and a link, properties in an object, no filter."""

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("X-Api-Key") != "contacts-key-1":
            raise RefusalError(401, "who are you")
        limit, at = asked.whole("limit", 10), asked.whole("after", 0)
        if limit > 100:
            raise RefusalError(400, "limit is at most 100")
        results = [
            {"id": str(one.n), "properties": {"email": f"c{one.n}@acme.example", "lastname": None},
             "createdAt": iso(one.created), "updatedAt": iso(one.updated), "archived": False}
            for one in world.things[at : at + limit]
        ]  # fmt: skip
        body: Record = {"results": results}
        if at + limit < len(world.things):
            link = asked.link(after=at + limit)
            body["paging"] = {"next": {"after": str(at + limit), "link": link}}
        return Reply(body)

    return answer


def shop_orders(world: World) -> Handler:
    """Orders under their own name, a Link header whose cursor allows no other parameters."""

    def answer(asked: Asked) -> Reply:
        cursor = asked.params.get("page_info")
        if cursor is not None:
            asked.only("page_info", "limit")
        since = _iso(asked, "updated_at_min")
        at = 0
        if cursor is not None:
            text, _, start = cursor.partition(".")
            at, since = place(text), datetime.fromisoformat(start) if start else None
        limit = min(asked.whole("limit", 50), 250)
        things = sorted(world.by("updated", since=since), key=lambda one: one.n)
        orders = [
            {"id": 450000 + one.n, "name": f"#{one.n}", "total_price": "12.50",
             "created_at": one.created.astimezone(NEW_YORK).isoformat(),
             "updated_at": one.updated.astimezone(NEW_YORK).isoformat()}
            for one in things[at : at + limit]
        ]  # fmt: skip
        headers = {"X-Shop-Api-Call-Limit": "1/40"}
        if at + limit < len(things):
            info = f"{opaque(at + limit)}.{since.isoformat() if since else ''}"
            bare = Asked(asked.url, asked.path, {}, asked.headers)
            headers["Link"] = f'<{bare.link(limit=limit, page_info=info)}>; rel="next"'
        return Reply({"orders": orders}, 200, headers)

    return answer


def tickets(world: World) -> Handler:
    """An incremental export: `start_time` first, then a cursor, which the last page has too."""

    def answer(asked: Asked) -> Reply:
        cursor = asked.params.get("cursor")
        since = _epoch(asked, "start_time")
        if cursor is None and since is None:
            raise RefusalError(400, "start_time is missing")
        at = 0
        if cursor is not None:
            text, _, start = cursor.partition(".")
            at, since = place(text), datetime.fromtimestamp(int(start), UTC)
        assert since is not None
        size = asked.whole("per_page", 40)
        things = world.by("updated", since=since)
        end = at + len(things[at : at + size])
        following = f"{opaque(end)}.{int(since.timestamp())}"
        bare = Asked(asked.url, asked.path, {}, asked.headers)
        body = {
            "tickets": [
                {"id": one.n, "subject": f"Ticket {one.n}", "status": "open", "tags": ["a"],
                 "created_at": iso(one.created), "updated_at": iso(one.updated)}
                for one in things[at : at + size]
            ],
            "after_url": bare.link(cursor=following, per_page=size),
            "after_cursor": following,
            "before_url": None,
            "end_of_stream": end >= len(things),
        }  # fmt: skip
        return Reply(body)

    return answer


def users(world: World) -> Handler:
    """`links.next` that is there on the last page too, `meta.has_more`, `page[size]`."""

    def answer(asked: Asked) -> Reply:
        at = place(asked.params.get("page[after]", opaque(0)))
        size = min(asked.whole("page[size]", 20), 100)
        following = opaque(at + size)
        body = {
            "users": [{"id": one.n, "name": f"User {one.n}", "updated_at": iso(one.updated)}
                      for one in world.things[at : at + size]],
            "meta": {"has_more": at + size < len(world.things), "after_cursor": following},
            "links": {"next": asked.link(**{"page[after]": following}), "prev": None},
        }  # fmt: skip
        return Reply(body)

    return answer


def books(world: World) -> Handler:
    """Pages counted from 0 with all their figures, epoch milliseconds."""

    def answer(asked: Asked) -> Reply:
        size, number = min(asked.whole("size", 20), 2000), asked.whole("page", 0)
        since = asked.params.get("modifiedSince")
        start = None if since is None else datetime.fromtimestamp(int(since) / 1000, UTC)
        things = world.by("updated", since=start)
        at = number * size
        content = [
            {"isbn": f"978-{one.n:06}", "title": f"Book {one.n}", "price": one.n + 0.5,
             "lastModified": int(one.updated.timestamp() * 1000)}
            for one in things[at : at + size]
        ]  # fmt: skip
        pages = -(-len(things) // size)
        figures = {"totalElements": len(things), "totalPages": pages, "number": number}
        return Reply({"content": content, **figures, "size": size, "last": number + 1 >= pages})

    return answer


def readings(world: World) -> Handler:
    """Rows under a header, the next offset as a number."""

    def answer(asked: Asked) -> Reply:
        at, count = asked.whole("offset", 0), min(asked.whole("count", 25), 50)
        rows = [[one.n, iso(one.created), one.n / 3] for one in world.things[at : at + count]]
        following = at + count if at + count < len(world.things) else None
        names = [{"name": "reading_id", "type": "int"}, {"name": "created"}, {"name": "value"}]
        return Reply({"columns": names, "rows": rows, "next_offset": following})

    return answer


def machines(world: World) -> Handler:
    """An object of objects under their keys, a cursor beside it."""

    def answer(asked: Asked) -> Reply:
        at, limit = place(asked.params.get("cursor", opaque(0))), asked.whole("limit", 30)
        part = world.things[at : at + limit]
        found = {
            f"m{one.n}": {"name": f"Machine {one.n}", "room": one.n % 4, "seen": iso(one.updated)}
            for one in part
        }
        cursor = opaque(at + limit) if at + limit < len(world.things) else ""
        return Reply({"ok": True, "machines": found, "cursor": cursor})

    return answer


def accounts(world: World) -> Handler:
    """`@odata.nextLink` and `$top`, a date filter that nobody can guess."""

    def answer(asked: Asked) -> Reply:
        at, top = asked.whole("$skiptoken", 0), min(asked.whole("$top", 50), 500)
        value = [
            {"accountid": f"00000000-0000-4000-8000-{one.n:012}", "name": f"Account {one.n}",
             "modifiedon": iso(one.updated)}
            for one in world.things[at : at + top]
        ]  # fmt: skip
        body: Record = {"@odata.context": "...", "value": value}
        if at + top < len(world.things):
            body["@odata.nextLink"] = asked.link(**{"$skiptoken": at + top})
        return Reply(body)

    return answer


def files(world: World) -> Handler:
    """`nextPageToken` for `pageToken`, `maxResults`, `updatedMin` in RFC 3339."""

    def answer(asked: Asked) -> Reply:
        at = place(asked.params.get("pageToken", opaque(0)))
        size = min(asked.whole("maxResults", 50), 100)
        things = sorted(world.by("updated", since=_iso(asked, "updatedMin")), key=lambda x: x.n)
        items = [
            {"kind": "file", "id": f"f{one.n}x", "updated": iso(one.updated), "size": one.n * 10}
            for one in things[at : at + size]
        ]
        body: Record = {"kind": "list", "items": items}
        if at + size < len(things):
            body["nextPageToken"] = opaque(at + size)
        return Reply(body)

    return answer


def articles(world: World) -> Handler:
    """JSON:API: attributes in an object, `page[number]`, links, and `included` beside the data."""

    def answer(asked: Asked) -> Reply:
        number, size = asked.whole("page[number]", 1), min(asked.whole("page[size]", 15), 60)
        things = world.by("updated", since=_iso(asked, "filter[updated_at][gte]"))
        at = (number - 1) * size
        data = [
            {"type": "articles", "id": str(one.n),
             "attributes": {"title": f"Article {one.n}", "updated_at": iso(one.updated)}}
            for one in things[at : at + size]
        ]  # fmt: skip
        included = [{"type": "people", "id": str(n), "attributes": {}} for n in range(30)]
        is_last = at + size >= len(things)
        following = None if is_last else asked.link(**{"page[number]": number + 1})
        links = {"self": asked.url, "next": following, "last": asked.link(**{"page[number]": 99})}
        meta = {"total": len(things)}
        return Reply({"data": data, "included": included, "links": links, "meta": meta})

    return answer


def messages(world: World) -> Handler:
    """`ok`, an empty cursor at the end, decimal epochs as texts, `oldest`."""

    def answer(asked: Asked) -> Reply:
        limit = min(asked.whole("limit", 20), 200)
        since = _epoch(asked, "oldest")
        things = world.by("created", since=since, newest=True)
        at = place(asked.params.get("cursor") or opaque(0))
        found = [
            {"type": "message", "ts": f"{int(one.created.timestamp())}.{one.n:06}",
             "text": f"Hello {one.n}", "user": "U1"}
            for one in things[at : at + limit]
        ]  # fmt: skip
        more = at + limit < len(things)
        following = {"next_cursor": opaque(at + limit) if more else ""}
        return Reply({"ok": True, "messages": found, "has_more": more,
                      "response_metadata": following})  # fmt: skip

    return answer


def countries(world: World) -> Handler:
    """Everything in one array, whatever is asked."""

    def answer(asked: Asked) -> Reply:
        return Reply([{"code": f"C{one.n}", "label": f"Country {one.n}"} for one in world.things])

    return answer


def visits(world: World) -> Handler:
    """A bare array, `page` alone, of 40 records each, dates of a country's own, no key."""

    def answer(asked: Asked) -> Reply:
        at = (asked.whole("page", 1) - 1) * 40
        return Reply([
            {"shop": one.n % 5, "visitor": one.n // 5, "seen_on": one.created.strftime("%d.%m.%Y")}
            for one in world.things[at : at + 40]
        ])  # fmt: skip

    return answer


def deals(world: World) -> Handler:
    """`start` and `limit`, what follows in `additional_data`, dates without a zone, `since`."""

    def answer(asked: Asked) -> Reply:
        at, limit = asked.whole("start", 0), min(asked.whole("limit", 30), 500)
        things = world.by("updated", since=_naive(asked, "updated_since"))
        part = things[at : at + limit]
        more = at + limit < len(things)
        paging: dict[str, Any] = {"start": at, "limit": limit, "more_items_in_collection": more}
        if more:
            paging["next_start"] = at + limit
        data = [
            {"id": one.n, "title": f"Deal {one.n}", "add_time": _plain(one.created),
             "update_time": _plain(one.updated)}
            for one in part
        ]  # fmt: skip
        return Reply({"success": True, "data": data, "additional_data": {"pagination": paging}})

    return answer


def _plain(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S")


def _naive(asked: Asked, name: str) -> datetime | None:
    text = asked.params.get(name)
    try:
        return (
            None if text is None else datetime.fromisoformat(text.rstrip("Z")).replace(tzinfo=UTC)
        )
    except ValueError:
        raise RefusalError(400, f"{name} is no date") from None
