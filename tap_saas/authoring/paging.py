"""What one answer says of the next page: links, cursors, totals; the ways to ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from tap_saas.authoring import vocabulary
from tap_saas.authoring.keys import Key
from tap_saas.authoring.lists import Listing, outside
from tap_saas.authoring.naming import like, words
from tap_saas.connector.decoding import decode
from tap_saas.connector.exchange import Response
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.links import links
from tap_saas.connector.pagination import Pagination

MOST_NAMES = 5


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """A way to walk a list: the value of `pagination:`, and what in an answer speaks for it."""

    form: dict[str, Any]
    seen: str

    @property
    def kind(self) -> str:
        """The type of pagination."""
        return str(self.form["type"])

    @property
    def described(self) -> str:
        """`cursor $.next, param:cursor`."""
        places = [str(self.form[name]) for name in ("next", "field", "send") if name in self.form]
        return " ".join([self.kind, *places])

    @property
    def asks_by(self) -> str:
        """The parameter that asks for the next page, empty for a link."""
        defaults = {"page": "param:page", "offset": "param:offset"}
        return str(self.form.get("send", defaults.get(self.kind, "")))


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The scalars of an answer beside its records, by what they may mean.

    `more` is the condition under which there is more, `ends` whether it does not hold now.
    """

    links: list[tuple[Path, str]]
    cursors: list[tuple[Path, Any]]
    more: str | None
    ends: bool
    numbers: list[tuple[Path, int]]
    starts: list[tuple[Path, int]]
    totals: list[tuple[str, int]]
    blanks: list[Path]
    linked: str | None


def paginator(form: Mapping[str, Any]) -> Any:
    """The object that walks a list as a `pagination:` says."""
    return msgspec.convert(dict(form), Pagination, dec_hook=decode)


def read(response: Response, listing: Listing) -> Told:
    """What an answer says beside its records."""
    scalars = list(outside(response.document.value, listing))
    more, ends = _more(scalars)
    link = next((to for to, rel in links(response.headers.get("Link", "")) if "next" in rel), None)
    numbers = [(path, value) for path, value in scalars if _is_whole(value)]
    nexts = [(path, value) for path, value in scalars if _is_next(path)]
    return Told(
        links=[(path, value) for path, value in nexts if _is_link(value)],
        cursors=[(path, value) for path, value in nexts if _is_cursor(value)],
        more=more,
        ends=ends,
        numbers=[
            (path, value) for path, value in numbers if _joined(path) in vocabulary.PAGE_NUMBERS
        ],
        starts=[(path, value) for path, value in numbers if _joined(path) in vocabulary.OFFSETS],
        totals=[*_totals(numbers), *_header_totals(response)],
        blanks=[path for path, value in nexts if value is None or value == ""],
        linked=link,
    )


def hints(told: Told, received: int, key: Key | None) -> Iterator[Hint]:
    """The ways to the next page that an answer speaks for, the surest first."""
    more = {} if told.more is None else {"more": told.more}
    if told.linked is not None:
        yield Hint(form={"type": "link_header"}, seen="a header Link with rel=next")
    for path, _ in told.links:
        form = {"type": "next_url", "next": str(path), **more}
        yield Hint(form=form, seen=f"a link at {path}")
    for path, value in told.cursors:
        seen = f"a cursor at {path}" if isinstance(value, str) else f"the number {value} at {path}"
        for name in _sends(path, value, [link for _, link in told.links]):
            form = {"type": "cursor", "next": str(path), "send": f"param:{name}", **more}
            yield Hint(form=form, seen=seen)
    yield from _counted(told, received)
    if told.more is not None and not told.ends and not told.cursors:
        yield from seeks(key, more, f"{told.more} and no cursor")


def _counted(told: Told, received: int) -> Iterator[Hint]:
    """Page numbers and offsets, where the answer shows its own or a total that is not reached."""
    for path, value in told.numbers:
        own = _param(path)
        for name in dict.fromkeys([own, "page"] if "page" in words(own) else ["page", own]):
            if value in (0, 1):
                yield pages(name, value, f"{path} is {value}")
    for path, value in told.starts:
        if value in (0, 1):
            yield offsets(_param(path), value, f"{path} is {value}")
    larger = [(place, total) for place, total in told.totals if total > received]
    if larger and not told.numbers and not told.starts:
        yield from blind(f"{larger[0][0]} is {larger[0][1]}, more than the {received} here")


def blind(seen: str) -> Iterator[Hint]:
    """Page numbers and offsets under their commonest names."""
    yield pages("page", 1, seen)
    yield pages("page", 0, seen)
    yield offsets("offset", 0, seen)
    yield offsets("skip", 0, seen)


def pages(name: str, first: int, seen: str) -> Hint:
    """`?page=2`."""
    form: dict[str, Any] = {"type": "page"}
    if name != "page":
        form["send"] = f"param:{name}"
    return Hint(form=form if first == 1 else {**form, "first": first}, seen=seen)


def offsets(name: str, first: int, seen: str) -> Hint:
    """`?offset=100`."""
    form: dict[str, Any] = {"type": "offset"}
    if name != "offset":
        form["send"] = f"param:{name}"
    return Hint(form=form if first == 0 else {**form, "first": first}, seen=seen)


def seeks(key: Key | None, more: Mapping[str, Any], seen: str) -> Iterator[Hint]:
    """`?starting_after=<the last id>`."""
    if key is None or key.hashed or len(key.paths) != 1:
        return
    for name in vocabulary.AFTER_PARAMS:
        form = {"type": "seek", "field": key.form[0], "send": f"param:{name}", **more}
        yield Hint(form=form, seen=seen)


def expected(told: Told, key: Key | None) -> Iterator[Hint]:
    """The ways that the last page speaks for: the places of a next page are there, but empty."""
    more = {} if told.more is None else {"more": told.more}
    for path in told.blanks:
        form: dict[str, Any] = {"type": "next_url", "next": str(path), **more}
        if not vocabulary.LINKS & {word for step in path.steps for word in words(str(step))}:
            send = f"param:{_sends(path, '', ())[0]}"
            form = {"type": "cursor", "next": str(path), "send": send, **more}
        yield Hint(form=form, seen=f"{path} is there, and empty")
    if told.more is not None:
        yield from seeks(key, more, f"{told.more} and no cursor")


def is_last(told: Told) -> bool:
    """True where the answer itself says that nothing follows."""
    return told.ends or (bool(told.blanks) and not (told.links or told.cursors or told.linked))


def total(told: Told, received: int) -> tuple[str, int] | None:
    """A total that is beyond the page; round ones may be the most that the API counts."""
    for place, value in told.totals:
        if value > received and value % 1_000:
            return place, value
    return None


def _joined(path: Path) -> str:
    return "".join(words(str(path.steps[-1])))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_next(path: Path) -> bool:
    """True for `links.next`, `paging.next.after`, `nextPageToken`, `after_url`, `cursor`."""
    steps = [words(str(step)) for step in path.steps]
    if any("prev" in step or "previous" in step or "sync" in step for step in steps):
        return False
    if any("next" in step for step in steps):
        return not any("has" in step for step in steps)
    return _joined(path) in vocabulary.CURSORS or steps[-1] in {("after", "url"), ("more", "url")}


def _is_link(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value.startswith(("http://", "https://", "/", "?")) or ("?" in value and "=" in value)


def _is_cursor(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and not _is_link(value)
    return _is_whole(value) and value > 0


def _more(scalars: Iterable[tuple[Path, Any]]) -> tuple[str | None, bool]:
    """The condition under which there is more, and whether there is none now."""
    for path, value in scalars:
        if isinstance(value, bool) and _joined(path) in vocabulary.MORE:
            return str(path), not value
        if isinstance(value, bool) and _joined(path) in vocabulary.LAST:
            return f"{path} == false", value
    return None, False


def _totals(numbers: Iterable[tuple[Path, int]]) -> list[tuple[str, int]]:
    return [(str(path), value) for path, value in numbers if _joined(path) in vocabulary.TOTALS]


def _header_totals(response: Response) -> list[tuple[str, int]]:
    return [
        (f"header:{name}", int(value))
        for name, value in response.headers.items()
        if "".join(words(name)) in vocabulary.TOTALS and value.isdigit()
    ]


def _param(path: Path) -> str:
    """How a request likely names what an answer has at a path."""
    name = str(path.steps[-1])
    parts = words(name)
    if parts[0] == "current" and len(parts) > 1:
        return like(name, parts[1:])
    above = words(str(path.steps[-2]))[-1:] if len(path.steps) > 1 else ()
    return "page" if name == "number" and above == ("page",) else name


def _sends(path: Path, value: Any, next_links: Iterable[str]) -> list[str]:
    """The parameters that may take a cursor: that of a link with the same value before all."""
    linked = [
        name
        for link in next_links
        for name, given in parse_qsl(urlsplit(link).query)
        if given == str(value)
    ]
    leaf = str(path.steps[-1])
    rest = [word for word in words(leaf) if word not in {"next", "end", "new"}]
    cut = re.sub(r"^(?:next|end|new)[_-]?(?=.)", "", leaf)
    own = [like(leaf, rest)] if rest else []
    own += [cut[0].lower() + cut[1:]] if cut != leaf else []
    kept = [leaf] if words(leaf) != ("next",) else []
    shorter = [rest[-1]] if len(rest) > 1 else []
    common = ["page", "offset"] if _is_whole(value) else ["cursor", "after", "page_token", "page"]
    bracketed = ["page[after]"] if "after" in rest else []
    names = [*linked, *own, *shorter, *kept, *bracketed, *common]
    return list(dict.fromkeys(names))[:MOST_NAMES]
