"""`saasctl webhooks serve` beside a scene: started, told where it listens, counted, stopped."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import requests

from tap_saas.demo import pipe
from tap_saas.errors import TargetError

START_S = 60.0
STOP_S = 20.0
_URL = re.compile(r"receiving: url=(\S+)")
_COUNT = re.compile(
    r'^tap_saas_webhook_\w+_total\{.*?(?:outcome|status)="(\w+)"\} (\d+)$', re.MULTILINE
)


class Receiver:
    """A receiver of one connector with one source, on a free port, its queue in the home folder."""

    def __init__(self, folder: Path, connector: str, environment: Mapping[str, str]) -> None:
        self.command = f"saasctl webhooks serve {connector} --port 0"
        self._log = folder / "receiver.log"
        program, *arguments = self.command.split()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [pipe.beside(program), *arguments],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def url(self) -> str:
        """Where events are to be posted, once it listens.

        Raises:
            TargetError: it does not.
        """
        until = time.monotonic() + START_S
        while not (found := _URL.search(self._told)):
            if self._process.poll() is not None or time.monotonic() > until:
                raise TargetError(f"the receiver does not listen: {self._told.strip()[-500:]}")
            time.sleep(pipe.LOOK_EVERY_S)
        return found[1]

    def counts(self) -> dict[str, int]:
        """Events `stored` and `duplicate`, and answers by status, as its /metrics has them."""
        base = self.url.partition("/webhooks/")[0]
        text = requests.get(f"{base}/metrics", timeout=30).text
        told = {name: int(count) for name, count in _COUNT.findall(text)}
        return {name: told.get(name, 0) for name in ("stored", "duplicate", "200", "401")}

    def stop(self) -> None:
        """End it in order; it is killed where that takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _told(self) -> str:
        return self._log.read_text(errors="replace")
