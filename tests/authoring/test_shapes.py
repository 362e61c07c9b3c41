"""Generated lists: whatever their names and forms, they are found, walked once, and typed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from small_apis import Asked, RefusalError, Reply, opaque, place, serve

from tap_saas.authoring import address, dates, draft, fields_seen, keys, lists, naming, writing
from tap_saas.authoring.guess import guess
from tap_saas.client.client import Client, Where
from tap_saas.client.pager import walk
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.formats import InstantFormat
from tap_saas.connector.load import load
from tap_saas.redact import Redactor
from tap_saas.report import Report

NAMES = st.sampled_from(["data", "items", "results", "orders", "orderList", "value", "records"])
ABOVE = st.lists(st.sampled_from(["response", "payload", "body", "result set"]), max_size=2)
KEY_NAMES = st.sampled_from(["id", "uuid", "order_id", "orderId", "ID", "orderid"])
FORMATS = st.sampled_from(
    ["iso8601", "epoch_s", "epoch_ms", "epoch_us", "%d/%m/%Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT"]
)
CHANGED = st.sampled_from(
    ["updated_at", "updatedAt", "modified", "lastModified", "modifiedon", "date_changed"]
)
T0 = datetime(2025, 1, 20, tzinfo=UTC)


class Body(NamedTuple):
    """An answer and where its parts are."""

    document: Any
    steps: tuple[str, ...]
    form: str
    key: str
    changed: str
    format: str
    order: str


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """An answer with a list of orders somewhere, other things beside it."""
    key, changed, format = draw(KEY_NAMES), draw(CHANGED), draw(FORMATS)
    count, order = draw(st.integers(3, 12)), draw(st.sampled_from(["asc", "desc"]))
    write = InstantFormat.parse(format).write
    numbers = range(count) if order == "asc" else range(count, 0, -1)
    records: list[dict[str, Any]] = [
        {"status": "open", key: f"o-{n}" if draw(st.booleans()) else n * 7, "total": 1.5,
         changed: write(T0 + timedelta(minutes=90 * n)), "tags": [{"id": n}, {"id": n + 1}]}
        for n in numbers
    ]  # fmt: skip
    form = draw(st.sampled_from(["plain", "keyed", "rows", "wrapped"]))
    name, above = draw(NAMES), draw(ABOVE)
    document: Any = {"errors": [{"code": 1}], "links": {"self": "x"}, "included": [{"id": 1}] * 20}
    if form == "plain":
        document[name] = records
    elif form == "keyed":
        document = {name: {f"k{record[key]}": record for record in records}, "ok": True}
    elif form == "wrapped":
        document[name] = [{"node": record, "cursor": "c"} for record in records]
    else:
        rows = [[value for field, value in one.items() if field != "tags"] for one in records]
        document = {name: rows, "columns": [field for field in records[0] if field != "tags"]}
    for step in reversed(above):
        document = {step: document, "status": 200}
    return Body(document, (*above, name), form, key, changed, format, order)


@given(bodies())
def test_the_list_its_key_and_its_date_are_found(body: Body) -> None:
    listing = lists.find(body.document, "orders")[0]
    steps = (*body.steps, naming_every(), "node") if body.form == "wrapped" else body.steps
    assert [str(step) for step in listing.at.steps] == [str(step) for step in steps]
    assert (listing.keyed is not None, listing.header is not None) == (
        body.form == "keyed",
        body.form == "rows",
    )
    found = keys.find(listing.records, "orders")
    assert body.key in {path.steps[0] for key in found[:2] for path in key.paths}
    date = dates.find(listing.records)[0]
    assert (date.name, date.role, date.format) == (body.changed, "changed", body.format)
    assert date.order == body.order
    kinds = fields_seen.find(listing.records, [date])
    assert kinds["status"] == "text"
    assert kinds["total"] == "number"


@pytest.mark.parametrize(
    ("values", "format"),
    [
        (["2025-01-02T00:00:00Z", "soon"], None),
        (["02/03/2025", "13/03/2025"], "%d/%m/%Y"),
        (["02/03/2025", "03/13/2025"], "%m/%d/%Y"),
        (["2025-01-02", None], "date"),
        ([17, 4], None),
        (["", None], None),
        ([1735689600, 1735689600.5], "epoch_s"),
        (["20250102030405", "20250102030406"], "%Y%m%d%H%M%S"),
    ],
)
def test_a_format_fits_every_value(values: list[Any], format: str | None) -> None:
    found = dates.find([{"updated_at": value} for value in values])
    assert [date.format for date in found] == ([] if format is None else [format])


def naming_every() -> str:
    """How a path shows each item of a list."""
    return "[*]"


class Shape(NamedTuple):
    """How an API pages: `first` is the number of its first page or record."""

    style: str
    send: str
    size: str | None
    default: int
    cap: int
    count: int
    first: int = 1
    strict: bool = False


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """The styles with names that are usual for them."""
    style = draw(st.sampled_from(["page", "page_total", "offset", "token", "url", "link", "seek"]))
    send = {
        "page": ["page"], "page_total": ["page", "pageNumber"], "offset": ["offset", "skip"],
        "token": ["cursor", "page_token", "pageToken"], "url": ["p"], "link": ["page"],
        "seek": ["starting_after", "since_id"],
    }  # fmt: skip
    default = draw(st.integers(4, 30))
    return Shape(
        style=style,
        send=draw(st.sampled_from(send[style])),
        size=draw(st.sampled_from([None, "limit", "per_page", "pageSize", "page[size]", "$top"])),
        default=default,
        cap=draw(st.sampled_from([default, 50, 100, 500])),
        count=draw(st.integers(2 * default + 1, 130)),
        first=draw(st.sampled_from([0, 1])) if style.startswith("page") else 0,
        strict=draw(st.booleans()),
    )


def answer(shape: Shape, asked: Asked) -> Reply:
    """A page of the list that a shape is about."""
    if shape.strict:
        asked.only(shape.send, *([shape.size] if shape.size else []))
    size = shape.default if shape.size is None else asked.whole(shape.size, shape.default)
    size = max(1, min(size, max(shape.cap, shape.default)))
    at = _start(shape, asked, size)
    records = [{"id": n, "name": f"n{n}"} for n in range(at + 1, min(at + size, shape.count) + 1)]
    more = at + size < shape.count
    following = _link(shape, asked, at + size, size)
    match shape.style:
        case "page_total":
            shown = {shape.send: at // size + shape.first, "total": shape.count}
            return Reply({"items": records, **shown})
        case "offset":
            return Reply({"items": records, "total": shape.count})
        case "token":
            token = {"next_" + shape.send: opaque(at + size)} if more else {}
            return Reply({"items": records, **token})
        case "url":
            return Reply({"items": records, "paging": {"next": following if more else None}})
        case "link":
            return Reply(records, 200, {"Link": f'<{following}>; rel="next"'} if more else {})
        case "seek":
            return Reply({"items": records, "has_more": more})
        case _:
            return Reply(records)


def _start(shape: Shape, asked: Asked, size: int) -> int:
    if shape.style.startswith("page") or shape.style == "link":
        first = 1 if shape.style == "link" else shape.first
        number = asked.whole(shape.send, first)
        if number < first:
            raise RefusalError(400, "there is no such page")
        return (number - first) * size
    if shape.style in {"token", "url"}:
        return place(asked.params.get(shape.send, opaque(0)))
    return asked.whole(shape.send, 0)


def _link(shape: Shape, asked: Asked, at: int, size: int) -> str:
    value = at // size + 1 if shape.style == "link" else opaque(at)
    return asked.link(**{shape.send: value})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes())
@example(shape=Shape("page", "page", None, 5, 5, 40, first=0))
@example(shape=Shape("page", "page", "limit", 5, 50, 40, first=0, strict=True))
@example(shape=Shape("seek", "since_id", "page[size]", 7, 7, 33, strict=True))
def test_every_way_to_page_is_walked_exactly_once(shape: Shape, tmp_path: Path) -> None:
    with serve(lambda asked: answer(shape, asked)) as url:
        found = guess(address.read(f"{url}/things", env={}), 20, lambda _: None)
        file = tmp_path / "things.yaml"
        file.write_text(draft.connector(found))
        numbers = _walked(file)
    assert numbers == list(range(1, shape.count + 1)), draft.connector(found)


def _walked(file: Path) -> list[int]:
    """The ids of all records, as the tap's client walks the list."""
    loaded = load(file, {}, {})
    (form,) = loaded.connector.streams.values()
    redactor = Redactor()
    with Client(
        loaded.connector,
        {},
        home=None,
        stop=threading.Event(),
        report=Report("test", redactor),
        redactor=redactor,
    ) as client:
        pages = walk(
            client,
            form,
            form.build({}),
            token=None,
            decode=lambda response: Decoded(read_records(form.records, response), "dict"),
            where=Where(),
            ahead_bytes=0,
        )
        return [record["id"] for page in pages for record in page.records]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS | st.sampled_from(
        ["no", "1e3", "0x1f", "12:30", "param:a[b]", "{key}", "$.a.b", "null", "~", "- a", "5m"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(TEXTS.filter(bool), VALUES, max_size=4), st.integers(0, 3))
def test_what_is_written_is_read_as_it_was(value: dict[str, Any], depth: int) -> None:
    entries = [
        writing.Entry(key=key, value=one, comments=["why: {}"]) for key, one in value.items()
    ]
    text = "\n".join(["top:", *writing.text(entries, depth + 1)])
    read = YAML(typ="safe").load(text)["top"]
    assert read == (value or None)


@given(
    st.lists(st.sampled_from(["next", "page", "token", "updated", "by"]), min_size=2, max_size=4)
)
def test_words_are_written_as_the_sample_is(parts: list[str]) -> None:
    snake, kebab = "_".join(parts), "-".join(parts)
    camel = parts[0] + "".join(part.capitalize() for part in parts[1:])
    for sample in (snake, kebab, camel, camel[0].upper() + camel[1:]):
        assert naming.words(sample) == tuple(parts)
        assert naming.like(sample, parts) == sample
