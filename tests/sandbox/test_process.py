"""The sandbox as a process: ready in one line, gone at once, clear where it cannot start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tap_saas.sandbox.process import Running, SandboxError, start, stop

SMALL = ["--customers", "2", "--orders", "2", "--events", "2"]
MODULES = ["__init__", "__main__", "app", "process", "server", "world"]


@pytest.fixture
def running() -> Iterator[Running]:
    sandbox = start(customers=2, orders=2, events=2)
    yield sandbox
    stop(sandbox.pid)


def is_there(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def wait_in_vain(url: str, lost: list[type[Exception]]) -> None:
    try:
        requests.get(f"{url}/orders?api_key=sandbox-key", timeout=10)
    except requests.RequestException as error:
        lost.append(type(error))


def sandboxes() -> set[int]:
    """The pids of sandboxes that are children of this process, running or not yet waited for."""
    shown = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, timeout=10, check=True
    )
    rows = [row.split(maxsplit=2) for row in shown.stdout.splitlines()]
    me = str(os.getpid())
    return {int(pid) for pid, parent, args in rows if parent == me and "tap_saas.sandbox" in args}


def test_started_and_stopped_by_pid(running: Running) -> None:
    assert is_there(running.url)
    assert running.pid in sandboxes()
    assert os.getsid(running.pid) == running.pid
    stop(running.pid)
    assert not is_there(running.url)
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
    stop(running.pid)


def test_stop_kills_what_does_not_end(running: Running) -> None:
    os.kill(running.pid, signal.SIGSTOP)
    stop(running.pid, timeout_s=0.2)
    assert not is_there(running.url)


def test_stop_leaves_other_processes_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        stop(other.pid)
        assert other.poll() is None
        other.communicate(b"\n")


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The module as a user runs it, with `ready.json` in the test's folder."""
    command = [sys.executable, "-m", "tap_saas.sandbox", *SMALL]
    command += ["--ready-file", str(tmp_path / "ready.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        yield started
        started.kill()


def first_line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


def test_ready_is_told_once_on_stdout_and_in_the_file(
    child: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    line = first_line(child)
    told = json.loads(line)
    assert told == {"url": told["url"], "pid": child.pid}
    assert is_there(told["url"])
    assert (tmp_path / "ready.json").read_bytes() == line
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly_even_in_the_middle_of_an_answer(
    child: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    url = json.loads(first_line(child))["url"]
    fault = {"path": "/orders", "kind": "slow", "delay_ms": 60_000}
    requests.post(f"{url}/_faults", json=fault, timeout=5)
    lost: list[type[Exception]] = []
    reader = threading.Thread(target=wait_in_vain, args=[url, lost])
    reader.start()
    while not requests.get(f"{url}/_requests", timeout=5).json()["total"]:
        time.sleep(0.01)
    began = time.monotonic()
    child.send_signal(number)
    rest = child.communicate(timeout=10)
    assert time.monotonic() - began < 3
    reader.join()
    assert lost == [requests.ConnectionError]
    assert (child.returncode, rest) == (0, (b"", b""))


def peak_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_hundred_thousand_orders_are_light(running: Running) -> None:
    large = start(customers=2, orders=100_000, events=2)
    try:
        for offset in range(0, 20_000, 500):
            address = f"{large.url}/orders?api_key=sandbox-key&limit=500&offset={offset}"
            assert requests.get(address, timeout=5).status_code == 200
        assert peak_kb(large.pid) - peak_kb(running.pid) < 40_000
    finally:
        stop(large.pid)


def test_port_in_use_is_one_line_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tap_saas.sandbox", *SMALL, "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert f"port {port}: Address already in use" in ended.stderr
        with pytest.raises(SandboxError, match=f"port {port}: Address already in use"):
            start(port=port, customers=2, orders=2, events=2)


def test_start_that_takes_too_long_leaves_nothing_running() -> None:
    before = sandboxes()  # those of other tests of this process
    with pytest.raises(SandboxError, match=r"not ready after 0\.01 s"):
        start(timeout_s=0.01)
    assert sandboxes() == before


def test_size_out_of_bounds_is_exit_2() -> None:
    with pytest.raises(SandboxError, match="--orders: '5000000' is not a whole number"):
        start(orders=5_000_000)


def test_nothing_of_the_tap_is_imported() -> None:
    names = [f"tap_saas.sandbox.{name}" for name in MODULES]
    code = (
        f"import importlib, json, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps([n for n in sys.modules if n.startswith(('tap_saas', 'target_config'))]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    others = [n for n in json.loads(ended.stdout) if not n.startswith("tap_saas.sandbox")]
    assert others == ["tap_saas"]
