"""The budgets in PostgreSQL: shared by machines, outlive kills and pools, are lost in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tap_saas.client.stores import StoreLostError, open_store
from tap_saas.client.stores.bucket import LEASE_S, Claim, Rate
from tap_saas.client.stores.postgres import PostgresStore
from tap_saas.client.stores.sqlite import SqliteStore
from tap_saas.config import secrets
from tap_saas.errors import ConfigError

LIMIT = Claim("all", "all", (Rate(3, 3600, 3600),))
ONE = Claim("one", "one", concurrent=1)

# Takes the lease of "one", then begins to spend of "all" and stays in the midst of it; when it is
# let go on, it says what came of it.
HOLDER = f"""
import sys
from tap_saas.client.stores import postgres
from tap_saas.client.stores.bucket import Claim, Rate, try_claims

postgres.STALL_MS = int(sys.argv[2])
store = postgres.PostgresStore(sys.argv[1])
assert store.try_("child", [{ONE!r}]).go

def spend(buckets):
    print("within", flush=True)
    if sys.stdin.readline():
        return try_claims(buckets, [{LIMIT!r}], "child", None)

print(store._change(["all"], spend).go, flush=True)
"""


@contextmanager
def opened(url: str, **more: object) -> Iterator[PostgresStore]:
    with closing(PostgresStore(url, **more)) as store:  # type: ignore[arg-type]
        yield store


def spend(store: PostgresStore, times: int = 1) -> list[bool]:
    goes = [store.try_(f"{number}", [LIMIT]).go for number in range(times)]
    for number in range(times):
        store.release(f"{number}", [LIMIT])
    return goes


@contextmanager
def holder(url: str, stall_ms: int) -> Iterator[subprocess.Popen[str]]:
    """A process in the midst of a transaction."""
    command = [sys.executable, "-c", HOLDER, url, str(stall_ms)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "within\n"
        yield child
        child.kill()


def test_two_stores_of_one_database_share_their_budgets(database: str) -> None:
    with opened(database) as one, opened(database) as two:
        assert spend(one, 2) + spend(two, 2) == [True, True, True, False]
    with opened(database) as later:
        assert spend(later) == [False]


def test_the_table_is_made_by_whoever_comes_first(database: str) -> None:
    together = threading.Barrier(8)

    def come(_: int) -> bool:
        together.wait()
        with opened(database) as store:
            return spend(store)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(come, range(8))) == [False] * 5 + [True] * 3


def test_who_may_not_make_tables_uses_the_one_that_is_there(database: str) -> None:
    with opened(database) as store:
        store._db.execute("CREATE ROLE poor LOGIN PASSWORD 'x'")
        store._db.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON budget_bucket TO poor")
    try:
        with opened(database, clock=lambda: 1e9) as store:
            store._db.execute("SET ROLE poor")
            assert spend(store) == [True]
            store._clean()
    finally:
        with psycopg.connect(database, autocommit=True) as db:
            db.execute("DROP OWNED BY poor")
            db.execute("DROP ROLE poor")


def test_a_pool_may_hand_out_another_connection_for_each_transaction(database: str) -> None:
    with opened(database) as one, opened(database) as two:
        connections = [one._db, two._db]
        for number in range(8):
            one._db, two._db = connections[number % 2], connections[1 - number % 2]
            one._db.execute("DISCARD ALL")
            assert one.try_(f"one {number}", [LIMIT, ONE]).go is (number < 3)
            assert not two.try_(f"two {number}", [ONE]).go or number >= 3
            for store, name in ((one, "one"), (two, "two")):
                store.release(f"{name} {number}", [LIMIT, ONE])


def test_threads_that_come_together_are_one_transaction(database: str) -> None:
    with opened(database) as store, ThreadPoolExecutor(8) as pool:
        together = threading.Barrier(9)

        def come(number: int) -> bool:
            together.wait()
            return store.try_(f"{number}", [LIMIT, Claim(f"own {number}", "own")]).go

        with store._lock:
            future = pool.map(come, range(8))
            together.wait()
            while len(store._wanted) < 8:
                time.sleep(0.001)
            uses = store._uses
        assert sorted(future) == [False] * 5 + [True] * 3
        assert store._uses == uses + 1


def test_a_killed_process_keeps_nothing_and_its_lease_expires(database: str) -> None:
    with holder(database, stall_ms=60_000) as child:
        child.send_signal(signal.SIGKILL)
        began = time.monotonic()
        with opened(database) as store:
            assert spend(store, 4) == [True, True, True, False]
            assert time.monotonic() - began < 5
            assert not store.try_("parent", [ONE]).go
            ((now,),) = store._db.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        with opened(database, clock=lambda: float(now) + LEASE_S + 0.1) as later:
            assert later.try_("parent", [ONE]).go


def test_a_stalled_process_holds_nobody_up_and_asks_again(database: str) -> None:
    with holder(database, stall_ms=300) as child, opened(database) as store:
        assert spend(store, 2) == [True, True]
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("go on\n" * 2)
        child.stdin.flush()
        assert child.stdout.read().split() == ["within", "True"]
        assert spend(store) == [False], "the child has the third"


def test_a_connection_that_broke_is_made_anew(database: str) -> None:
    with opened(database) as store, opened(database) as other:
        assert spend(store, 2) == [True, True]
        other._db.execute("SELECT pg_terminate_backend(%s)", (store._db.info.backend_pid,))
        assert spend(store, 2) == [True, False]


def test_the_clock_is_that_of_the_database(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    with opened(database) as store:
        since = store.try_("x", [LIMIT]).since
        ((now,),) = store._db.execute("SELECT extract(epoch FROM now())::float8")
    assert since == pytest.approx(now, abs=5)


def drop_database(url: str) -> None:
    name = urlsplit(url).path[1:]
    with psycopg.connect(url.replace(f"/{name}", "/postgres"), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")
        db.execute(f"CREATE DATABASE {name}")


def run(sql: str) -> Callable[[str], None]:
    def harm(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(sql.encode())

    return harm


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (drop_database, '"budget_bucket" does not exist; check `budget_store`'),
        (run("DROP TABLE budget_bucket"), '"budget_bucket" does not exist; check `budget_store`'),
        (run("UPDATE budget_bucket SET state = ''"), "the table budget_bucket is damaged; drop it"),
        (run("UPDATE budget_bucket SET state = 'x'"), "the table budget_bucket is damaged; drop"),
    ],
)
def test_a_lost_store_says_so_and_lets_nobody_go(
    database: str, harm: Callable[[str], None], told: str
) -> None:
    with opened(database) as store:
        assert spend(store) == [True]
        harm(database)
        for _ in range(2):
            with pytest.raises(StoreLostError) as caught:
                store.try_("x", [LIMIT])
            line = str(caught.value)
            assert line.startswith("postgresql://")
            assert ": the budgets cannot be kept: " in line
            assert told in line
            assert "\n" not in line
            assert caught.value.exit_code == 2


def test_a_database_that_cannot_be_reached_is_told_at_once_without_the_password() -> None:
    with pytest.raises(StoreLostError) as caught:
        PostgresStore("postgresql://shop:s3cr3t-word@127.0.0.1:1/shop")
    line = str(caught.value)
    assert line.startswith("postgresql://127.0.0.1/shop: the budgets cannot be kept: ")
    assert line.endswith("check `budget_store` and the database, and run again")
    assert "\n" not in line
    assert "s3cr3t" not in line


@pytest.mark.parametrize(
    "url", ["mysql://shop:s3cr3t-word@h/d", "s3cr3t-word", "postgresql://h/d?s3cr3t-word=1"]
)
def test_a_url_of_something_else_is_refused_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="write postgresql://host/database") as caught:
        open_store(url, tmp_path)
    assert "s3cr3t" not in str(caught.value)


def test_passwords_in_urls_are_known_as_secrets() -> None:
    found = secrets({
        "budget_store": "postgresql://shop:s%C3%A9cret@h/d?password=other",
        "queue": "postgresql://shop:third@h/d",
        "home": "postgresql://shop:fourth@h/d",
    })  # fmt: skip
    assert sorted(found) == ["other", "s%C3%A9cret", "s\u00e9cret", "third"]
    assert secrets({"queue": "queue.db", "budget_store": "postgresql://[bad"}) == []


def test_without_a_url_a_file_in_home_is_used_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "tap_saas.client.stores.postgres")
    with closing(open_store(None, tmp_path)) as store:
        assert isinstance(store, SqliteStore)
    with pytest.raises(ConfigError, match=r'install it: pip install "tap-saas\[postgres\]"'):
        open_store("postgresql://127.0.0.1/shop", tmp_path)
