"""`saasctl loop`: real processes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SAASCTL = str(Path(sys.executable).with_name("saasctl"))


def _loop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SAASCTL, "loop", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_runs_one_at_a_time_and_ends_after_its_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"echo begin >> {log}; sleep 0.2; echo end >> {log}"
    done = _loop("--every", "50ms", "--runs", "3", "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert log.read_text().split() == ["begin", "end"] * 3


def test_waits_longer_after_each_failure_and_says_when_it_is_well_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"date +%s%N >> {log}; test $(wc -l < {log}) -gt 3"
    done = _loop("--every", "100ms", "--runs", "5", "--", "sh", "-c", script)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "loop: the command ended with 1, the 1. time in a row; next in 0.2 s",
        "loop: the command ended with 1, the 2. time in a row; next in 0.4 s",
        "loop: the command ended with 1, the 3. time in a row; next in 0.8 s",
        "loop: well again after 3 failures",
    ]
    starts = [int(line) / 1e9 for line in log.read_text().split()]
    waits = [after - before for before, after in itertools.pairwise(starts)]
    # From start to start; how long a process takes to start is not the loop's.
    assert [wait > least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=False)] == [True] * 3


def test_a_signal_reaches_the_whole_pipe_and_ends_the_loop(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"(echo $$ >> {pids}; exec sleep 30) | (sleep 30)"
    loop = subprocess.Popen([SAASCTL, "loop", "--", "sh", "-c", script])
    try:
        deadline = time.monotonic() + 30
        while not pids.exists() or not pids.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        loop.send_signal(signal.SIGTERM)
        assert loop.wait(timeout=20) == 143
    finally:
        loop.kill()
    for pid in map(int, pids.read_text().split()):
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_that_is_not_there_is_one_line() -> None:
    done = _loop("--", "/no/such/command")
    assert done.returncode == 2
    assert done.stderr.startswith("saasctl: /no/such/command cannot be run")
    assert len(done.stderr.splitlines()) == 1
