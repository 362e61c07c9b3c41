"""As many connections as one machine can have: they are held, and an event still gets through."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from receivers import PATIENCE_S, Receiver, receiving

CONNECTIONS = 10_000
OWN_FILES = 200
# As a service has it, and a shell.
FEW_FILES = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
PATIENT = "protocol.HEAD_S = 60.0\n"


@pytest.fixture
def most() -> Iterator[int]:
    """How many connections this process may make, 10,000 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, CONNECTIONS + OWN_FILES) if hard >= 0 else CONNECTIONS + OWN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), hard))
    yield min(limit - OWN_FILES, CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_kb(running: Receiver) -> int:
    """What a process has now (VmRSS of proc(5): Linux only)."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_ten_thousand_idle_connections_keep_no_event_out(tmp_path: Path, most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with receiving(tmp_path, more=FEW_FILES.format(hard=hard) + PATIENT) as running:
        before = memory_kb(running)
        with ExitStack() as crowd:
            held = [crowd.enter_context(running.socket()) for _ in range(most - 10)]
            for one in held[::2]:
                one.sendall(b"POST /webhooks/acme/main HTTP/1.1\r\nX-Slow: ")
            began = time.monotonic()
            assert running.send({"n": 1}, "through the crowd").status == 200
            lasted = time.monotonic() - began
            print(f"{len(held):,} connections held, an event took {lasted:.3f} s")
            assert lasted < 5
            assert all(_is_open(one) for one in held[:: len(held) // 50])
            grown = (memory_kb(running) - before) / len(held)
            assert grown < 40, "KB a connection"
        until = time.monotonic() + PATIENCE_S
        while running.send({"n": 2}, "after").status != 200:
            assert time.monotonic() < until
        assert [event.event_id for event in running.events()] == ["through the crowd", "after"]
        assert running.stop() == 0


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
