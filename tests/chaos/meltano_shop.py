"""The pipeline that Meltano runs: killed with -9, forced, refreshed, states merged or not."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness import Child, Pipeline
from meltano_project import Project, kill, wait_for_left
from sandbox_api import OAUTH_SECRET, Sandbox
from shops import HERE, Shop
from strikes import Ended, Strike, Usual

STRATEGIES = ((), ("--state-strategy", "merge"), ("--state-strategy", "overwrite"))


class MeltanoShop(Shop):
    """`meltano run` of the same connector, into tables of its own."""

    def __init__(self, name: str, folder: Path, box: Sandbox, database: str) -> None:
        self.name, self.usual = name, Usual(seconds=15.0)
        text = (HERE / "pull.yaml").read_text()
        self.pipeline = Pipeline(
            folder / name, box.url, text, database=database, secret=OAUTH_SECRET, schema=name
        )
        self.pipeline.prepare()
        self._project = Project(
            folder / "project", box.url, text, database=database, secret=OAUTH_SECRET, schema=name
        )
        self._killed: list[Child] = []
        self._forces = False

    def run(self, chance: random.Random, strikes: list[Strike]) -> Ended:
        """A run of some streams, killed where there is a strike, whoever that is for."""
        names = [table.name for table in self.tables]
        chosen = chance.sample(names, chance.randint(2, len(names) // 2))
        select = json.dumps([f"{name}.*" for name in chosen])
        refresh = ["--full-refresh"] if chance.random() < 0.3 else []
        arguments = [*refresh, *chance.choice(STRATEGIES)]
        after_s = chance.uniform(0.3, 1.0) * self.usual.seconds
        return self._run(arguments, after_s if strikes else None, TAP_SHOP__SELECT=select)

    def _run(self, arguments: list[str], after_s: float | None, **environment: str) -> Ended:
        force = ["--force"] if self._forces else []
        began = time.monotonic()
        meltano = self._project.start(*force, *arguments, **environment)
        killed: Counter[tuple[str, str]] = Counter()
        while after_s is not None and meltano.is_running:
            if time.monotonic() - began >= after_s:
                kill(meltano)
                killed["meltano", "SIGKILL"] += 1
                break
            time.sleep(0.02)
        self._forces = self._forces or bool(killed)
        self._killed = [*self._killed, meltano] if killed else self._forget()
        codes = {"meltano": meltano.wait()}
        told = {"meltano": f"{force} {arguments} {environment}\n{meltano.told()}"}
        ended = Ended(codes, told, b"", killed, time.monotonic() - began)
        self.usual.learn(ended)
        return ended

    def _forget(self) -> list[Child]:
        """Wait until nothing lives any more of the runs that were killed."""
        for meltano in self._killed:
            wait_for_left(meltano)
        return []

    def calm(self) -> Iterator[Ended]:
        """Runs to the end, once no other one writes."""
        for meltano in self._killed:
            wait_for_left(meltano)
        for _ in range(self._runs_to_settle()):
            yield self._run([], None)

    def state(self) -> str:
        """What Meltano keeps."""
        return json.dumps(self._project.states())
