"""The file of budgets: shared by processes, outlives kills and restarts, is lost in one line."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tap_saas.client.stores import StoreLostError, boot_clock
from tap_saas.client.stores.bucket import LEASE_S, Claim, Rate
from tap_saas.client.stores.sqlite import SqliteStore, boot_id

LIMIT = Claim("all", "all", (Rate(3, 3600, 3600),))
ONE = Claim("one", "one", concurrent=1)

# Takes the lease of "one", then spends without end; says so on its output.
SPENDER = f"""
import itertools, sys
from pathlib import Path
from tap_saas.client.stores.bucket import Claim, Rate
from tap_saas.client.stores.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
assert store.try_("child", [{ONE!r}]).go
for number in itertools.count():
    assert store.try_(str(number), [Claim("many", "many", (Rate(10**6, 3600, 3600),))]).go
    print(number, flush=True)
"""


@contextmanager
def opened(path: Path, **more: object) -> Iterator[SqliteStore]:
    with closing(SqliteStore(path, **more)) as store:  # type: ignore[arg-type]
        yield store


def spend(store: SqliteStore, times: int = 1) -> list[bool]:
    return [store.try_(f"{number}", [LIMIT]).go for number in range(times)]


def test_two_stores_of_one_file_share_their_budgets(tmp_path: Path) -> None:
    path = tmp_path / "home" / "budgets.db"
    with opened(path) as one, opened(path) as two:
        assert spend(one, 2) + spend(two, 2) == [True, True, True, False]
    with opened(path) as later:
        assert spend(later) == [False]
    assert path.with_name(f"budgets-{boot_id()}.db").stat().st_mode & 0o777 == 0o600


def test_a_restart_of_the_machine_keeps_long_windows(tmp_path: Path) -> None:
    path = tmp_path / "budgets.db"
    with opened(path, boot="aaaaaaaa", clock=lambda: 5e6) as before:
        assert spend(before, 2) == [True, True]
        assert before.try_("holder", [ONE]).go
        before.pause([Claim("paused", "paused")], 7200)
    with opened(path, boot="bbbbbbbb", clock=lambda: 20.0) as after:
        assert spend(after, 2) == [True, False]
        assert after.try_("next", [ONE]).go, "who held it is gone"
        grant = after.try_("0", [Claim("paused", "paused")])
        assert 7190 < grant.wait_s <= 7200
    assert [found.name for found in tmp_path.glob("*.db")] == ["budgets-bbbbbbbb.db"]


@pytest.mark.parametrize(("off_s", "goes"), [(3601, True), (3500, False), (-9000, False)])
def test_time_passes_while_the_machine_is_off_unless_its_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off_s: float, goes: bool
) -> None:
    path = tmp_path / "budgets.db"
    with opened(path, boot="aaaaaaaa", clock=lambda: 5e6) as before:
        assert spend(before, 3) == [True, True, True]
    wall = time.time()
    monkeypatch.setattr(time, "time", lambda: wall + off_s)
    with opened(path, boot="bbbbbbbb", clock=lambda: 20.0) as after:
        assert spend(after) == [goes]
        assert after.try_("x", [LIMIT]).wait_s <= 3600


def test_a_file_that_a_crash_of_the_machine_damaged_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "budgets-aaaaaaaa.db").write_bytes(b"SQLite format 3\0" + b"\x7f" * 5000)
    with opened(tmp_path / "budgets.db", boot="bbbbbbbb") as store:
        assert spend(store) == [True]
    assert "budgets from before the machine started are lost" in caplog.text
    assert not (tmp_path / "budgets-aaaaaaaa.db").exists()


@pytest.mark.parametrize("wait_s", [0.01, 0.05])
def test_a_killed_process_damages_nothing_and_its_lease_expires(
    tmp_path: Path, wait_s: float
) -> None:
    path = tmp_path / "budgets.db"
    with subprocess.Popen(
        [sys.executable, "-c", SPENDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "0\n"
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        said = 1 + len(child.stdout.read().split())
    offset = [0.0]
    with opened(path, clock=lambda: boot_clock() + offset[0]) as store:
        used: list[int] = []
        store._change(["many"], lambda found: used.append(found[0].logs[3600].used))
        assert said <= used[0] <= said + 1
        assert not store.try_("parent", [ONE]).go
        offset[0] = LEASE_S + 0.1
        assert store.try_("parent", [ONE]).go


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


def remove_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.with_name("elsewhere").joinpath(path.name).unlink()


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\x7f" * path.stat().st_size)


def forge(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE bucket SET state = x'01'")
        db.commit()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (remove, "the file was removed or replaced while it was in use; keep `home`"),
        (replace, "the file was removed or replaced while it was in use; keep `home`"),
        (remove_folder, "the file was removed or replaced while it was in use; keep `home`"),
        (scribble, "; remove the file while nothing runs"),
        (forge, "the file is damaged; remove the file while nothing runs"),
    ],
)
def test_a_lost_store_says_so_and_lets_nobody_go(
    tmp_path: Path, harm: Callable[[Path], None], told: str
) -> None:
    with opened(tmp_path / "home" / "budgets.db") as store:
        assert spend(store) == [True]
        harm(store.path)
        for _ in range(2):
            with pytest.raises(StoreLostError) as caught:
                store.try_("x", [LIMIT])
            assert str(caught.value).startswith(f"{store.path}: the budgets cannot be kept: ")
            assert told in str(caught.value)
            assert "\n" not in str(caught.value)
            assert caught.value.exit_code == 2


def fill(store: SqliteStore) -> int:
    """Spend in more and more buckets until that fails; returns how many were granted."""
    granted = 0
    with pytest.raises(StoreLostError, match="the budgets cannot be kept: "):  # noqa: PT012 - whichever
        for number in range(5000):
            granted += store.try_("x", [Claim(f"{number}", "all", (Rate(1, 60, 60),))]).go
    return granted


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_grow_is_a_lost_store(tmp_path: Path) -> None:
    with opened(tmp_path / "budgets.db") as store:
        with largest_file(32 * 1024):
            granted = fill(store)
        assert granted > 10
        with pytest.raises(StoreLostError, match="cannot be kept"):
            store.try_("y", [LIMIT])
    with opened(tmp_path / "budgets.db") as again:
        (kept,) = again._db.execute("SELECT count(*) FROM bucket").fetchone()
        assert kept == granted, "what failed is not half kept"


def test_a_full_disk_tells_to_free_space(tmp_path: Path) -> None:
    with opened(tmp_path / "budgets.db") as store:
        store._db.execute("PRAGMA max_page_count = 4")
        fill(store)
        with pytest.raises(StoreLostError, match="free some space on the disk"):
            store.try_("y", [LIMIT])


def test_a_folder_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreLostError, match="choose another folder as `home`"):
        SqliteStore(tmp_path / "file" / "budgets.db")
    (tmp_path / f"budgets-{boot_id()}.db").mkdir()
    with pytest.raises(StoreLostError, match="choose another folder as `home`"):
        SqliteStore(tmp_path / "budgets.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_a_folder_without_rights_is_told_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreLostError, match="choose another folder as `home`"):
        SqliteStore(tmp_path / "budgets.db")
