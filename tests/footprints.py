"""How much memory and STATE a run takes: a large API out of a formula, a tap that is watched.

| path | what |
| --- | --- |
| `/records?page=3` | so many records a page, sorted by `updated_at`, over 694 days from 2024 on |
| `/parents?page=3` | so many parents a page, `id` and `created_at` |
| `/parents/7/children` | two children |
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from harness import BIN, Child, Pipeline
from sandbox_api import Answer, serve

PAGE = 500
PATIENCE_S = 3_600.0
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=694)
HEAD = """\
name: shop
settings: {url: {}, key: {secret: true, env: SHOP_KEY}}
base_url: "{url}"
auth: {type: bearer, token: "{key}"}
defaults:
  records: $.data
  primary_key: [id]
  version: updated_at
  pagination: {type: page, pages: $.pages, size: {send: param:size, value: 500}}
  schema: &schema
    type: object
    properties:
      id: {type: integer}
      updated_at: {type: string, format: date-time}
      text: {type: string}
streams:
"""
RECORDS = {
    "full pass": "  records: {path: /records}\n",
    "incremental, asc": (
        "  records:\n    path: /records\n"
        "    incremental: {key: updated_at, start: {send: param:since}, order: asc}\n"
    ),
    "pages side by side": ("  records:\n    path: /records\n    pagination: {parallel: 4}\n"),
    "windows side by side": (
        "  records:\n    path: /records\n    incremental: {key: updated_at, first: 2024-01-01, "
        "start: {send: param:since}, end: {send: param:until}, window: {size: 30d}}\n"
    ),
}
_PARENTS = "  parents: {path: /parents}\n  children:\n    path: /parents/{parent}/children\n"
_OF = "    parents: [{stream: parents, values: {parent: $.id}}]\n"
_SINCE = "    parents: [{stream: parents, values: {parent: $.id}, since: $.created_at}]\n"
_MOVES = "    incremental: {key: updated_at, start: {send: param:since}}\n"
CHILDREN = {
    "children, one bookmark": _PARENTS + _OF,
    "children, parents.since": _PARENTS + _SINCE + _MOVES,
    "children, a bookmark each": _PARENTS + _OF + _MOVES,
}


@dataclass
class LargeApi:
    """So many records and parents, `page` of them a page, each page padded to `page_bytes`.

    `asked` counts requests by what they asked for.
    """

    records: int = 0
    parents: int = 0
    page: int = PAGE
    page_bytes: int = 0
    asked: Counter[str] = field(default_factory=Counter, init=False)

    def answer(self, target: str) -> Answer:
        """The answer to a request."""
        parts = urlsplit(target)
        _, kind, *rest = parts.path.split("/")
        self.asked["children" if rest else kind] += 1
        if rest:
            return Answer(_children(int(rest[0])))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        listed = self.records if kind == "records" else self.parents
        step = SPAN // max(listed, 1)
        first, last = _part(listed, step, query)
        start = first + (int(query.get("page", "1")) - 1) * self.page
        ids = range(start, min(start + self.page, last))
        padding = "x" * (self.page_bytes // max(len(ids), 1))
        texts = ",".join(_record(id_, step, padding) for id_ in ids)
        pages = max(1, -(-(last - first) // self.page))
        return Answer(f'{{"pages":{pages},"data":[{texts}]}}'.encode())


def _part(n: int, step: timedelta, query: dict[str, str]) -> tuple[int, int]:
    """Which of `n` records are in the window that is asked for: the first, and the one after."""

    def place(name: str, default: int) -> int:
        if name not in query:
            return default
        return max(0, -((BEGIN - datetime.fromisoformat(query[name])) // step))

    first = min(place("since", 0), n)
    return first, max(first, min(place("until", n), n))


def _record(id_: int, step: timedelta, text: str) -> str:
    at = (BEGIN + id_ * step).isoformat()
    return f'{{"id":{id_},"created_at":"{at}","updated_at":"{at}","text":"{text}"}}'


def _children(parent: int) -> bytes:
    texts = (_record(parent * 2 + n, timedelta(seconds=1), "") for n in range(2))
    return f'{{"pages":1,"data":[{",".join(texts)}]}}'.encode()


class Footprint(NamedTuple):
    """What a run took: records, peak memory in KB, bytes of its largest STATE, seconds."""

    records: int
    peak_kb: int
    state: int
    lasted_s: float


class Watched:
    """A tap whose output is read, as fast as it comes or slowly, while its memory is watched."""

    def __init__(self, folder: Path, url: str, streams: str, *, stream: str, **config: int) -> None:
        shop = Pipeline(folder, url, HEAD + streams, config=config)
        self._begin = f'{{"type":"RECORD","stream":"{stream}"'.encode()
        self._began = time.monotonic()
        self.tap = Child(
            [BIN / "tap-saas", "--config", shop.config], shop.environment, patience_s=PATIENCE_S
        )
        self._tap_ended = threading.Event()
        self._peak_kb = self._records = self._state = 0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._tap_ended.wait(0.1):
            with contextlib.suppress(OSError, IndexError):
                self._peak_kb = max(self._peak_kb, self.tap.peak_kb())

    @property
    def peak_kb(self) -> int:
        """The most memory until now."""
        return self._peak_kb

    def lines(self) -> Iterator[bytes]:
        """What it writes; each line is counted."""
        for line in self.tap.stdout:
            if line.startswith(self._begin):
                self._records += 1
            elif line.startswith(b'{"type":"STATE"'):
                self._state = max(self._state, len(line))
            yield line

    def end(self) -> Footprint:
        """Read the rest; it must end well."""
        for _ in self.lines():
            pass
        code = self.tap.wait()
        self._tap_ended.set()
        self._watcher.join()
        told = self.tap.told()
        assert code == 0, told[-3_000:]
        return Footprint(self._records, self._peak_kb, self._state, time.monotonic() - self._began)

    def kill(self) -> None:
        """End it at once."""
        self.tap.send(signal.SIGKILL)
        self.tap.wait()
        self.tap.told()
        self._tap_ended.set()
        self._watcher.join()


@contextlib.contextmanager
def large_api(**sizes: int) -> Iterator[tuple[LargeApi, str]]:
    """A large API (fields of `LargeApi`) and its URL, until the block ends."""
    api = LargeApi(**sizes)
    with serve(api.answer) as url:
        yield api, url
