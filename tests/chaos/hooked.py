"""A receiver of the sandbox's webhooks as a process, killed and started again at the same port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import requests
from harness import BIN, PATIENCE_S
from sandbox_api import KEY, Sandbox

HERE = Path(__file__).parent
SECRET = "whsec_c2VjcmV0IG9mIHRlc3Rz"
NAME = "push/main"


class Receiver:
    """`saasctl webhooks serve`, with its queue in a folder."""

    def __init__(self, folder: Path, box: Sandbox) -> None:
        folder.mkdir(exist_ok=True)
        self.queue = folder / "queue.db"
        self._folder, self._port = folder, _free_port()
        settings = {"url": box.url, "key": KEY}
        self._command = [
            BIN / "saasctl", "webhooks", "serve", HERE / "push.yaml", "--port", str(self._port),
            "--queue", self.queue, *(f"--set={name}={text}" for name, text in settings.items()),
        ]  # fmt: skip
        self._process = self._start()
        self._subscribe(box)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGTERM)

    def kill(self, number: signal.Signals) -> None:
        """End it at once, and start it again."""
        self._end(number)
        self._process = self._start()

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "SHOP_HOOK_SECRET": SECRET}
        with (self._folder / "receiver.log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in self._command], stderr=log, stdout=log, env=environment
            )
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert process.poll() is None, (self._folder / "receiver.log").read_text()[-2_000:]
            assert time.monotonic() < until, "the receiver does not listen"
            time.sleep(0.05)
        return process

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"http://127.0.0.1:{self._port}/readyz", timeout=5).ok
        return False

    def _subscribe(self, box: Sandbox) -> None:
        answer = requests.post(
            f"{box.url}/webhooks",
            json={"url": f"http://127.0.0.1:{self._port}/webhooks/{NAME}", "secret": SECRET},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
        )
        answer.raise_for_status()


def wait_for_all(box: Sandbox) -> None:
    """Wait until every webhook was accepted, or given up."""
    until = time.monotonic() + PATIENCE_S
    while box.tell("GET", "/_webhooks?deliveries=0")["waiting"]:
        assert time.monotonic() < until, "webhooks are not accepted"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
