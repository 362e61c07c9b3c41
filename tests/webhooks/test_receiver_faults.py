"""A receiver whose disk, clock or process fails: no answer was a lie, and it goes on by itself."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from load import Load
from receivers import NAME, PATIENCE_S, Receiver, receiving

from tap_saas.queues import open_queue
from tap_saas.queues.base import Place

# Stops itself when the events are committed and nobody has been told.
STOPS = """
import os, signal
tell = committer.Committer._tell
def stop_first(self, outcomes):
    os.kill(os.getpid(), signal.SIGSTOP)
    tell(self, outcomes)
committer.Committer._tell = stop_first
"""


def test_stopped_between_commit_and_answer_and_then_killed(tmp_path: Path) -> None:
    with receiving(tmp_path, more=STOPS) as running, ThreadPoolExecutor(1) as provider:
        asked = provider.submit(running.send, {"n": 1}, "unanswered")
        _wait_until_stopped(running)
        assert not asked.done()
        assert [event.event_id for event in running.events()] == ["unanswered"], "committed"
        running.stop(signal.SIGKILL)
        with pytest.raises((OSError, EOFError)):
            asked.result(PATIENCE_S)
    with receiving(tmp_path) as again:
        assert again.send({"n": 1}, "unanswered").status == 200
        assert [event.event_id for event in again.events()] == ["unanswered"]


def _wait_until_stopped(running: Receiver) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        found, status = os.waitpid(running.process.pid, os.WUNTRACED | os.WNOHANG)
        if found:
            assert os.WIFSTOPPED(status), running.told
            return
        assert time.monotonic() < until
        time.sleep(0.01)


# The system's files, but a sync takes as long as a file says, and is counted in another.
SLOW_DISK = """
import apsw, time, pathlib
disk = pathlib.Path({disk!r})
class Disk(apsw.VFS):
    def __init__(self):
        self.base = apsw.vfs_names()[0]
        super().__init__("slow disk", base=self.base, makedefault=True)
    def xOpen(self, name, flags):
        return File(self.base, name, flags)
class File(apsw.VFSFile):
    def xSync(self, flags):
        with (disk / "syncs").open("ab") as syncs:
            syncs.write(b".")
        time.sleep(float((disk / "delay").read_text()))
        super().xSync(flags)
slow = Disk()
"""


class Disk:
    """A disk whose syncs are as slow as one says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.code = SLOW_DISK.format(disk=str(folder))
        (folder / "syncs").touch()
        self.sync_takes(0)

    def sync_takes(self, seconds: float) -> None:
        (self._folder / "new").write_text(str(seconds))
        (self._folder / "new").replace(self._folder / "delay")

    @property
    def syncs(self) -> int:
        return (self._folder / "syncs").stat().st_size


@pytest.mark.parametrize("seconds", [0.002, 0.005])
def test_a_slow_sync_is_shared_by_many_answers(tmp_path: Path, seconds: float) -> None:
    disk = Disk(tmp_path / "disk")
    with receiving(tmp_path / "r", more=disk.code) as running:
        disk.sync_takes(seconds)
        before = disk.syncs
        with Load(running, clients=32) as load:
            load.wait(600)
        syncs = disk.syncs - before
        stored = [event.event_id for event in running.events()]
    assert load.refused == 0
    assert sorted(map(str, stored)) == sorted(load.sent)
    assert syncs >= len(load.accepted) / 32, "each commit is synced"
    assert syncs < len(load.accepted) / 3, "many events a commit"
    p99 = sorted(load.seconds)[int(len(load.seconds) * 0.99)]
    assert p99 < 2


def test_a_disk_that_stalls_is_told_after_two_seconds_and_loses_nothing(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with receiving(tmp_path / "r", more=disk.code) as running:
        assert running.send({"n": 0}, "before").status == 200
        disk.sync_takes(5)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as providers:
            asked = [providers.submit(running.send, {"n": n}, f"stalled {n}") for n in range(8)]
            answers = [each.result() for each in asked]
        disk.sync_takes(0)  # the next one: this one still waits
        waited = time.monotonic() - began
        assert {(each.status, each.headers["retry-after"]) for each in answers} == {(503, "30")}
        assert 1.9 < waited < 4.9, "the stall lasts for 5 s"
        assert running.send({"n": 9}, "at once").status == 503
        assert time.monotonic() - began < 4.9
        assert "a commit takes longer than 2 s" in running.told
        until = time.monotonic() + PATIENCE_S
        while running.send({"n": 9}, "at once").status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        for n in range(8):  # the provider comes again, as told
            assert running.send({"n": n}, f"stalled {n}").status == 200
        kept = Counter(event.event_id for event in running.events())
    assert kept == Counter(["before", "at once", *(f"stalled {n}" for n in range(8))])


CROWDED = """
make = committer.Committer
serve.__globals__["Committer"] = lambda *given, **more: make(*given, max_pending=3, **more)
"""


def test_too_many_that_wait_are_asked_to_come_again_soon(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    with receiving(tmp_path / "r", more=disk.code + CROWDED) as running:
        disk.sync_takes(0.02)
        with Load(running, clients=16) as load:
            load.wait(60)
        stored = [event.event_id for event in running.events()]
    assert load.refused > 0
    assert all(0 < int(each or 0) < 60 for each in load.later)
    assert len(set(stored)) == len(stored)
    assert set(stored) == set(load.accepted), "what was refused was not kept"


def test_a_full_disk_is_got_over_without_a_restart(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writes fail as they do there."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process cannot be set here")
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    with receiving(tmp_path, more=ignore) as running:
        endless = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (1 << 20, endless[1]))
        with Load(running, filling=20_000) as load:
            until = time.monotonic() + PATIENCE_S
            while load.refused < 20:
                assert time.monotonic() < until
                time.sleep(0.01)
        assert load.accepted
        assert set(load.later) == {"30"}
        assert running.send({"n": 1}, "forged", secret="guessed").status == 401
        found = [event.event_id for event in running.events()]
        assert set(load.accepted) == set(found), "no good answer without an event, none untold"
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, endless)
        until = time.monotonic() + PATIENCE_S
        while running.send({"n": 1}, "at last").status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [event.event_id for event in running.events()] == [*found, "at last"]


# An hour, and then a year, are taken back from the clock.
BACK = """
import pathlib
from datetime import timedelta
from tap_saas.queues import base
clock = base.utc_now
def now():
    back = pathlib.Path({file!r})
    return clock() - timedelta(hours=float(back.read_text()) if back.exists() else 0)
receiver.utc_now = now
committer.Committer.__init__.__kwdefaults__["now"] = now
committer.PURGE_S = 0.1
"""


def test_a_clock_that_jumps_back_changes_no_order_and_forgets_no_event(tmp_path: Path) -> None:
    clock = tmp_path / "hours"
    with receiving(tmp_path / "r", more=BACK.format(file=str(clock))) as running:
        assert running.send({"n": 1}, "1").status == 200
        for n, hours in ((2, 1), (3, 24 * 365)):
            first = running.events()[-1]
            with closing(open_queue(running.queue, write=False)) as tap:
                place = Place(tap.epoch, first.offset, first.mark)
                tap.acknowledge(NAME, "main", place)
                clock.write_text(str(hours))
                assert running.send({"n": n}, str(n)).status == 200
                assert running.send({"n": 1}, "1").status == 200, "a duplicate"
                start = tap.start(NAME, place)
                assert (start.known, start.gap) == (True, False)
                assert [each.event_id for each in tap.read(NAME, start.after)] == [str(n)]
        found = running.events()
    assert [event.event_id for event in found] == ["1", "2", "3"]
    assert all(one.offset < other.offset for one, other in pairwise(found))
    assert [one.received_at > other.received_at for one, other in pairwise(found)] == [True, True]
