"""Records that change in the background while they are read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tap_saas.sandbox.world import World


@dataclass(slots=True)
class Churn:
    """A record of `stream` changes every `every_ms`, `stop_after` times (None: always)."""

    stream: str
    every_ms: int
    stop_after: int | None
    changed: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def run(self, world: World) -> None:
        """Change record after record."""
        while self.stop_after is None or self.changed < self.stop_after:
            await asyncio.sleep(self.every_ms / 1_000)
            world.change(self.stream, update=1)
            self.changed += 1


class Churns:
    """What changes by itself, one churn a stream."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._churns: dict[str, Churn] = {}

    def start(self, churn: Churn) -> None:
        """Begin, in the place of the stream's churn if there is one."""
        self._stop(self._churns.get(churn.stream))
        churn.task = asyncio.get_running_loop().create_task(churn.run(self._world))
        self._churns[churn.stream] = churn

    def stop(self) -> None:
        """End all."""
        for churn in self._churns.values():
            self._stop(churn)

    def show(self) -> list[dict[str, object]]:
        """Every churn, how far it is, and whether it still goes on."""
        return [
            {
                "stream": churn.stream,
                "every_ms": churn.every_ms,
                "stop_after": churn.stop_after,
                "changed": churn.changed,
                "is_running": churn.task is not None and not churn.task.done(),
            }
            for churn in self._churns.values()
        ]

    @staticmethod
    def _stop(churn: Churn | None) -> None:
        if churn is not None and churn.task is not None:
            churn.task.cancel()
