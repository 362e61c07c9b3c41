"""`saasctl queue salvage`: what a damaged file still has is in the queue again, once, as it came."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from arrivals import SOURCE, Opener, arrival, arrivals, ids, walk
from click.testing import CliRunner
from test_sqlite import CRASHER, overwrite_pages, truncate, zero_header

from tap_saas.cli import cli
from tap_saas.errors import ConfigError, QueueError, TapSaasError
from tap_saas.queues import open_queue, salvage
from tap_saas.queues.base import Limits

COUNT = 3000


def flip_a_letter(path: Path) -> None:
    """Change a body in a way that SQLite cannot see."""
    content = path.read_bytes()
    at = content.index(b'{"id":"77"}')
    with path.open("r+b") as file:
        file.seek(at + 2)
        file.write(b"j")


def damaged(folder: Path, damage: Callable[[Path], None], count: int = COUNT) -> Path:
    """A file that a receiver put aside: an event a offset, with the offset as its id."""
    path = folder / "old.db"
    with closing(open_queue(path, write=True)) as queue:
        queue.append(arrivals(1, count))
    damage(path)
    return path.rename(folder / "old.db.corrupt-20260105T120000000000Z")


def saasctl(*given: str | Path) -> str:
    done = CliRunner().invoke(cli, ["queue", "salvage", *map(str, given)])
    if isinstance(done.exception, TapSaasError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("damage", "at_least"),
    [(overwrite_pages, 2700), (zero_header, COUNT), (truncate, 300), (flip_a_letter, COUNT - 1)],
)
def test_all_that_can_be_read_is_put_back_once(
    tmp_path: Path, damage: Callable[[Path], None], at_least: int
) -> None:
    wreck = damaged(tmp_path, damage)
    before = wreck.read_bytes()
    with closing(open_queue(tmp_path / "queue.db", write=True)) as queue:  # a receiver runs
        queue.append([*arrivals(2, 3), arrival("new")])
        with closing(open_queue(tmp_path / "queue.db", write=False)) as other:
            read, stored, had, ranges = salvage(wreck, other)
        lost = {offset for first, last in ranges for offset in range(first, last + 1)}
        assert at_least <= read == COUNT - len(lost)
        assert (stored, had) == (read - 2, COUNT)
        assert all(
            event.body == b'{"id":"%s"}' % (event.event_id or "").encode() for event in walk(queue)
        )
        kept = ids(queue)
        assert kept[:3] == ["2", "3", "new"]
        assert [int(each or 0) for each in kept[3:]] == [
            n for n in range(1, COUNT + 1) if n not in {2, 3, *lost}
        ], "in their order"
        again = saasctl(wreck, "--queue", tmp_path / "queue.db")
        assert again.startswith(
            f"{read} of {COUNT} events read: 0 put back, {read} were there already\n"
        )
        counted = re.search(r"offsets of which nothing could be read: (\d+) \(", again)
        assert int(counted.group(1) if counted else 0) == len(ranges)
        assert queue.append(arrivals(1, 1)) == [False], "the provider comes again"
    assert wreck.read_bytes() == before
    assert {one.name for one in tmp_path.glob("old.db*")} == {"old.db.lock", wreck.name}


def test_events_are_as_they_came_with_an_id_or_without(opener: Opener, tmp_path: Path) -> None:
    sent = [arrival(None, body=b"\xff" * size, query="a=1") for size in (0, 30_000)]
    sent.append(arrival("x", headers={"x-a": "b"}, source="acme/other"))
    with closing(open_queue(tmp_path / "old.db", write=True)) as old:
        old.append(sent)
        expected = [*walk(old), *walk(old, "acme/other")]
    queue = opener(write=True)
    assert salvage(tmp_path / "old.db", queue) == (3, 3, 3, [])
    assert salvage(tmp_path / "old.db", opener()) == (3, 0, 3, [])
    found = [*walk(queue), *walk(queue, "acme/other")]
    names = ("source", "event_id", "received_at", "query", "headers", "body", "mark")
    for event, each in zip(found, expected, strict=True):
        assert [getattr(event, n) for n in names] == [getattr(each, n) for n in names]
    assert queue.append([arrival(None)] * 2) == [True, True], "a new one without an id is new"


def test_what_stands_in_the_journal_alone_is_read_too(tmp_path: Path) -> None:
    path, wreck = tmp_path / "old.db", tmp_path / "old.db.corrupt-1"
    subprocess.run([sys.executable, "-c", CRASHER, str(path)], check=False)
    for suffix in ("", "-wal"):
        shutil.move(path.with_name(path.name + suffix), wreck.with_name(wreck.name + suffix))
    with closing(open_queue(tmp_path / "queue.db", write=True)) as queue:
        assert salvage(wreck, queue) == (200, 200, 200, [])
        assert ids(queue) == [str(number) for number in range(1, 201)]


def test_a_queue_that_fills_up_takes_the_rest_later(tmp_path: Path) -> None:
    wreck = damaged(tmp_path, lambda _: None, 500)
    limits = Limits(max_events=200, min_free_bytes=0, min_free_share=0)
    with closing(open_queue(tmp_path / "queue.db", write=True, limits=limits)) as queue:
        with pytest.raises(QueueError, match=r"200 events are put back, the rest is not: .* full"):
            salvage(wreck, queue)
        queue.drop(SOURCE, 150)
        with pytest.raises(QueueError, match="200 events are put back"):
            salvage(wreck, queue)


def test_a_file_without_anything_to_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAP_SAAS_QUEUE", "queue.db")
    (tmp_path / "noise").write_bytes(os.urandom(40_000))
    (tmp_path / "nothing").write_bytes(b"")
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE t (a)")
    with closing(open_queue("queue.db", write=True)):
        for name, error, line in (
            ("nowhere", ConfigError, "nowhere: there is no such file"),
            ("queue.db", ConfigError, "queue.db: this is the queue itself"),
            ("other.db", ConfigError, "other.db: the file is not a queue"),
            ("nothing", ConfigError, "nothing: the file is not a queue"),
            ("noise", QueueError, "noise: nothing can be read from the file"),
        ):
            with pytest.raises(error, match=line) as caught:
                saasctl(name)
            assert len(str(caught.value).splitlines()) == 1
    assert {one.name for one in tmp_path.iterdir()} == {
        "noise", "nothing", "other.db", "queue.db", "queue.db.lock"
    }  # fmt: skip
