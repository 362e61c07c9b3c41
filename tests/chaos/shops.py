"""The pipelines of a chaos run: each with a state and tables of its own, all over one sandbox."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import BIN, Pipeline, start
from hooked import SECRET
from sandbox_api import OAUTH_SECRET, Sandbox
from strikes import PIPE, Ended, Run, Strike, Usual

HERE = Path(__file__).parent
WAITS = "not_fetched"


@dataclass(frozen=True)
class Table:
    """A table and the list of the sandbox that it must be equal to.

    With `keeps` nothing tells the tap what is deleted: such rows stay.
    """

    name: str
    of: str
    keeps: bool = False


PULLED = (
    Table("customers", "customers"),
    Table("customers_seek", "customers"),
    Table("customers_link", "customers"),
    Table("customers_next", "customers", keeps=True),
    Table("orders", "orders"),
    Table("orders_batch", "orders"),
    Table("orders_ties", "orders"),
    Table("lines", "order_lines"),
    Table("lines_changed", "order_lines", keeps=True),
    Table("lines_since", "order_lines", keeps=True),
    Table("lines_own", "order_lines", keeps=True),
    *(
        Table(name, "events")
        for name in (
            "events", "events_windows", "events_desc", "events_offset", "events_page",
        )
    ),
)  # fmt: skip
PUSHED = (
    Table("customers", "customers"),
    Table("orders", "orders"),
    Table("order_lines", "order_lines", keeps=True),
)


class Shop:
    """A pipe of the tap, the target and `saasctl state save`."""

    tables = PULLED

    def __init__(self, name: str, folder: Path, box: Sandbox, database: str) -> None:
        self.name, self.usual = name, Usual()
        self._catalog = folder / name / "some.json"
        text = (HERE / "pull.yaml").read_text()
        self.pipeline = Pipeline(
            folder / name, box.url, text, database=database, secret=OAUTH_SECRET, schema=name
        )
        self.pipeline.prepare()
        self._whole = json.loads(self.pipeline.tap("--discover").out)

    def run(self, chance: random.Random, strikes: list[Strike]) -> Ended:
        """A run of some streams, under fire."""
        return self._end(strikes, self._some(chance))

    def calm(self) -> Iterator[Ended]:
        """Runs to the end, in calm."""
        for _ in range(self._runs_to_settle()):
            yield self._end([], [])

    def _runs_to_settle(self) -> int:
        """A sweep, and a run that marks what it did not see; first the end of one in flight, which
        may have seen what was deleted since.
        """
        in_flight = ('"page_token": ', '"sweep": [1')  # a walk with its token, a sweep's version
        return 3 if any(one in self.state() for one in in_flight) else 2

    def _end(self, strikes: list[Strike], arguments: list[str]) -> Ended:
        shop = self.pipeline
        tap, target = shop.start_tap(*arguments), shop.start_target()
        save: list[str | Path] = [BIN / "saasctl", "state", "save", shop.state]
        saver = start(save, shop.environment, stdin=target.stdout)
        target.stdout.close()  # the saver alone has it: where that is gone, the target must see it
        ended = Run(dict(zip(PIPE, (tap, target, saver), strict=True)), strikes).end()
        self.usual.learn(ended)
        return ended

    def _some(self, chance: random.Random) -> list[str]:
        """A catalog with some of the streams, or none for all of them."""
        if chance.random() < 0.1:
            return []
        names = [table.name for table in self.tables]
        chosen = {*chance.sample(names, chance.randint(2, 6))}
        streams = [s for s in self._whole["streams"] if s["tap_stream_id"] in chosen]
        self._catalog.write_text(json.dumps({"streams": streams}))
        return ["--catalog", str(self._catalog)]

    def differences(self, box: Sandbox) -> list[str]:
        """What the tables have that the API has not, and the other way round."""
        rejects = [one for one in self._rejects() if one[1] != WAITS]
        bad = [f"{self.name}: {len(rejects)} rejects: {rejects[:3]}"] if rejects else []
        return bad + [line for table in self.tables for line in self._compare(box, table)]

    def _rejects(self) -> list[tuple[str, str, str]]:
        """Stream, error and payload of the rejects; there are none, but for what can wait."""
        found = self.pipeline.query(f"SELECT stream, error, payload FROM {self.name}._rejects")
        return [(str(stream), str(error), str(payload)) for stream, error, payload in found]

    def _compare(self, box: Sandbox, table: Table) -> Iterator[str]:
        truth, rows = box.truth(table.of), self.pipeline.table(table.name)
        name = f"{self.name}.{table.name}"
        for key, times in Counter(key for key, _ in rows).items():
            if times > 1:
                yield f"{name}: {key} is there {times} times"
        listed, waits = dict(truth), self._waiting(table)
        lacks = [one for one in truth if one not in set(rows) and not _is_one_of(one[0], waits)]
        extra = [
            one
            for one in rows
            if one not in set(truth)
            and not _is_one_of(one[0], waits)
            and not (table.keeps and one[0] not in listed)
        ]
        for what, found in (("lacks", lacks), ("has", extra)):
            if found:
                yield f"{name}: {what} {len(found)} of {len(truth)}: {found[:8]}"

    def _waiting(self, table: Table) -> set[str]:
        """The orders whose lines are known to be missing: none."""
        return set()

    def state(self) -> str:
        """The state that the next run begins with."""
        return json.dumps(self.pipeline.kept())

    def rows(self) -> int:
        """How many rows all tables have."""
        return sum(len(self.pipeline.table(table.name)) for table in self.tables)


class PushedShop(Shop):
    """One that is pulled once, and then fed by the sandbox's event log or by webhooks alone."""

    tables = PUSHED

    def __init__(
        self, name: str, folder: Path, box: Sandbox, database: str, feed: str, queue: Path
    ) -> None:
        self.name, self.usual = name, Usual()
        self._feed, self._queue = feed, str(queue)
        text = (HERE / "push.yaml").read_text()
        self.pipeline = Pipeline(
            folder / name, box.url, text, database=database, secret=OAUTH_SECRET, schema=name
        )
        self.pipeline.environment["SHOP_HOOK_SECRET"] = SECRET
        self.pipeline.prepare()

    def run(self, chance: random.Random, strikes: list[Strike]) -> Ended:
        """A run of all streams."""
        feeds = [self._feed] if self._is_pulled else ["pull", self._feed]
        self.pipeline.configure(feeds=feeds, queue=self._queue)
        return self._end(strikes, [])

    def calm(self) -> Iterator[Ended]:
        """Runs to the end; there is one more where the first is that which comes to all lists."""
        for _ in range(1 if self._is_pulled else 2):
            yield self.run(random.Random(0), [])

    @property
    def _is_pulled(self) -> bool:
        bookmarks = self.pipeline.kept().get("bookmarks", {})
        return all(bookmarks.get(t.name, {}).get("last_success_ts") for t in self.tables)

    def _waiting(self, table: Table) -> set[str]:
        """The orders whose lines could not be had yet, as STATE and the rejects tell."""
        if table.of != "order_lines":
            return set()
        found: set[str] = set()
        for bookmark in self.pipeline.kept()["bookmarks"].values():
            found |= {_order(want[2]) for want in bookmark.get("pending") or ()}
        return found | {_order(payload) for _, error, payload in self._rejects() if error == WAITS}


def _order(values: str | Mapping[str, Any]) -> str:
    known = json.loads(values) if isinstance(values, str) else values
    return str(known["order_id"])


def _is_one_of(key: str, orders: set[str]) -> bool:
    return key.partition(":")[0] in orders
