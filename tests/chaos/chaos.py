"""A chaos run: everything changes, goes wrong and is killed; then calm, and all must be equal."""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hooked import Receiver, wait_for_all
from meltano_shop import MeltanoShop
from sandbox_api import Sandbox, sandbox
from shops import PushedShop, Shop
from strikes import Ended, plan
from tally import Evidence, Tally
from unrest import Unrest, refused

WEIGHTS = (12, 4, 4, 2)
"""How often a run is one of: the lists, the log, the webhooks, Meltano."""


class Chaos:
    """One run over one sandbox; the rounds end after `kills` of them, or after `seconds`.

    With `meltano` some rounds are Meltano's.
    """

    def __init__(self, seed: int, database: str, *, meltano: bool) -> None:
        self.tally, self.evidence = Tally(seed), Evidence(seed)
        self._chance = random.Random(seed)
        self._database, self._meltano = database, meltano

    def run(self, kills: int, seconds: float) -> Tally:
        """All rounds, then calm, then the comparison."""
        seed, folder = self.tally.seed, self.evidence.folder
        with (
            sandbox(seed=seed, customers=30, orders=10, events=90) as box,
            Receiver(folder / "receiver", box) as receiver,
        ):
            shops = self._shops(box, folder, receiver.queue)
            with Unrest(box, seed) as unrest:
                until = time.monotonic() + seconds
                while self.tally.kills < kills and time.monotonic() < until:
                    self._round(shops, receiver)
                unrest.calm()
            self.tally.faults, self.tally.changes = unrest.faults, unrest.changes
            wait_for_all(box)
            for shop in shops:
                self._settle(shop, box)
            self.tally.answered = refused(box)
        if self.tally.kills < kills:
            self.tally.problems.append(f"only {self.tally.kills} kills in {seconds:.0f} s")
        self.evidence.close(self.tally)
        return self.tally

    def _shops(self, box: Sandbox, folder: Path, queue: Path) -> list[Shop]:
        """All of them, with their tables."""
        at = (folder, box, self._database)
        with ThreadPoolExecutor() as pool:
            made: list[Future[Shop]] = [
                pool.submit(Shop, "pull", *at),
                pool.submit(PushedShop, "log", *at, "events", queue),
                pool.submit(PushedShop, "hooks", *at, "webhooks", queue),
            ]
            if self._meltano:
                made.append(pool.submit(MeltanoShop, "meltano", *at))
        return [shop.result() for shop in made]

    def _round(self, shops: list[Shop], receiver: Receiver) -> None:
        """One run of one of them, most of them under fire."""
        if self._chance.random() < 0.08:
            number = self._chance.choice((signal.SIGKILL, signal.SIGTERM))
            receiver.kill(number)
            self.tally.killed["receiver", number.name] += 1
        shop = self._chance.choices(shops, WEIGHTS[: len(shops)])[0]
        strikes = plan(self._chance, shop.usual) if self._chance.random() < 0.9 else []
        self._add(shop, shop.run(self._chance, strikes), f"strikes: {strikes}")

    def _add(self, shop: Shop, ended: Ended, note: str) -> None:
        self.tally.add(shop.name, ended)
        self.evidence.keep(shop.name, shop.state(), ended, note)

    def _settle(self, shop: Shop, box: Sandbox) -> None:
        """Run it in calm, and compare."""
        for ended in shop.calm():
            self._add(shop, ended, "in calm")
            if not ended.is_whole:
                self.tally.problems.append(f"{shop.name}: in calm it ended with {ended.codes}")
        self.tally.problems += shop.differences(box)
        self.tally.rows += shop.rows()
