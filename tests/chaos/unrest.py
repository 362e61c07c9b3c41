"""What changes and goes wrong in a sandbox, all the while, until it is calmed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

from sandbox_api import Sandbox

from tap_saas.sandbox.faults import KINDS

PATHS = ("/customers", "/orders", "/orders/*/lines", "/events", "/log", "/orders/deleted", "*")
CHURNED = ("customers", "orders", "events")
MOST = {"customers": 50, "orders": 16, "events": 200}
"""So many records a stream has at most, or a round would take ever longer."""
MOST_DELETED = 40


class Unrest:
    """A thread that changes records, lets things go wrong and right again, by chance.

    `counts` are of changes and of answers that were spoilt, by kind. An error of the thread is
    raised by `calm`.
    """

    def __init__(self, box: Sandbox, seed: int) -> None:
        self._box, self._chance = box, random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="unrest", daemon=True)
        self._error: BaseException | None = None
        self._size = {"customers": 0, "orders": 0, "events": 0}
        self._deleted: Counter[str] = Counter()
        self._limited: set[str] = set()
        self._actions: Mapping[Callable[[], None], int] = {
            self._change: 50,
            self._fault: 12,
            self._mend: 4,
            self._late: 3,
            self._hold: 2,
            self._release: 3,
            self._limit: 1,
            self._unlimit: 3,
            self._knobs: 2,
        }
        self.changes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def __enter__(self) -> Self:
        # The sandbox's own limit of an hour would end all that is read of events.
        self._set_limit("/events", None)
        for stream in CHURNED:
            every_ms = self._chance.randrange(60, 400)
            self._box.tell("POST", "/_world/churn", stream=stream, every_ms=every_ms)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def calm(self) -> None:
        """End the unrest: nothing changes or goes wrong any more."""
        self.__exit__()
        if self._error is not None:
            raise self._error
        for churn in self._box.tell("DELETE", "/_world/churn"):
            self.changes[f"{churn['stream']} churned"] += churn["changed"]
        self._release()
        self._mend()
        self._unlimit()
        self._box.tell("POST", "/_webhooks", retry_ms=100)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._chance.uniform(0.02, 0.25)):
                actions = list(self._actions)
                weights = list(self._actions.values())
                self._chance.choices(actions, weights)[0]()
        except BaseException as error:
            self._error = error

    def _change(self) -> None:
        stream = self._chance.choice(CHURNED)
        few = self._chance.choice((1, 1, 2, 5))
        wanted = {"update": few if self._chance.random() < 0.6 else 0}
        if self._size[stream] < MOST[stream] and self._chance.random() < 0.4:
            wanted["insert"] = few
        if stream != "events" and self._chance.random() < 0.3:
            verb = "delete" if self._deleted[stream] < MOST_DELETED else "restore"
            wanted[self._chance.choice((verb, verb, "restore"))] = few
        new_field = self._chance.random() < 0.03
        told = self._box.tell(
            "POST", "/_world/change", stream=stream, new_field=new_field, **wanted
        )
        for verb in ("updated", "inserted", "deleted", "restored"):
            self.changes[f"{stream} {verb}"] += len(told[verb])
        self._deleted[stream] += len(told["deleted"]) - len(told["restored"])
        self._size = self._box.tell("GET", "/_world")["streams"]

    def _late(self) -> None:
        # Not the orders: a list that is walked by its values must be sorted by them.
        stream = self._chance.choice(("customers", "events"))
        told = self._box.tell("POST", "/_world/late", stream=stream, n=self._chance.randint(1, 4))
        self.changes[f"{stream} older versions"] += len(told["late"])

    def _hold(self) -> None:
        self._box.tell("POST", "/_world/hold", n=self._chance.randint(1, 3))

    def _release(self) -> None:
        self.changes["log held"] += len(self._box.tell("POST", "/_world/release")["released"])

    def _fault(self) -> None:
        chance = self._chance
        self._box.fault(
            chance.choice(PATHS),
            chance.choice(KINDS),
            times=chance.randint(1, 4),
            every=chance.randint(1, 6),
            retry_after=chance.choice((None, "seconds", "date")),
            after_s=chance.uniform(0.1, 0.9),
            delay_ms=chance.choice((0, 0, 20, 200)),
            length=chance.choice(("cut", "whole")),
        )

    def _mend(self) -> None:
        for fault in self._box.tell("GET", "/_faults"):
            self.faults[fault["kind"]] += fault["hits"]
        self._box.tell("DELETE", "/_faults")

    def _limit(self) -> None:
        path = self._chance.choice(PATHS)
        self._limited.add(path)
        self._set_limit(path, self._chance.randint(3, 20))

    def _unlimit(self) -> None:
        for path in self._limited:
            self._set_limit(path, None)
        self._limited.clear()

    def _set_limit(self, path: str, requests: int | None) -> None:
        self._box.tell("POST", "/_limits", path=path, requests=requests, per_s=1.0)

    def _knobs(self) -> None:
        chance = self._chance
        self._box.tell(
            "POST", "/_webhooks",
            double_every=chance.choice((0, 3)),
            forge_every=chance.choice((0, 4)),
            delay_ms=chance.choice((0, 50)),
            disorder_ms=chance.choice((0, 300)),
            retry_ms=100,
        )  # fmt: skip


def refused(box: Sandbox) -> Mapping[str, Any]:
    """How many requests were answered with each status, over all paths."""
    by_status: Counter[str] = Counter()
    for statuses in box.tell("GET", "/_requests?times=0")["by_path"].values():
        by_status.update(statuses)
    return by_status
