"""P7: whatever ends a run from outside, whole lines have left, and the last STATE goes on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import Child, finish, start
from hostile_api import Asked, Hostile, Raw, hostile
from hostile_shop import DAY, Shop, connector, page, right
from singer_output import Done

BUSY_BYTES = 9_000  # by then pages of several lanes are under way
PARENTS, LINES = 24, 4
ANSWER_S = 0.02
HANGS = "/orders/3/lines"
PATIENT = {"connect": "2s", "read": "60s", "total": "60s"}


def paged(asked: Asked) -> Raw:
    """24 orders with 4 lines each, two records a page, none of them quick."""
    _, _, cursor = asked.target.partition("cursor=")
    first = 2 * int(cursor.partition("&")[0] or 0)
    time.sleep(ANSWER_S)
    if asked.path == "/orders":
        records: list[dict[str, Any]] = [
            {"id": n, "updated_at": DAY.format(1), "pad": "x" * 500} for n in (first, first + 1)
        ]
        following = first + 2 < PARENTS
    elif asked.path.endswith("/lines"):
        records = [
            {"n": n, "updated_at": DAY.format(2), "pad": "y" * 500} for n in (first, first + 1)
        ]
        following = first + 2 < LINES
    else:
        return right(asked)
    return page(*records, next=str(first // 2 + 1) if following else None)


def keys(*runs: Done) -> set[tuple[Any, ...]]:
    """The keys of all records of these runs."""
    found = {("order", record["id"]) for run in runs for record in run.records("orders")}
    lines = (record for run in runs for record in run.records("lines"))
    return found | {("line", record["order"], record["n"]) for record in lines}


ALL = {("order", n) for n in range(PARENTS)} | {
    ("line", order, n) for order in range(PARENTS) for n in range(LINES)
}


def busy(shop: Shop, *prefix: str) -> tuple[Child, bytes]:
    """A run in the middle of its work, and what it has written."""
    tap = start([*prefix, *shop.command()], shop.environment)
    out = b""
    while len(out) < BUSY_BYTES:
        piece = tap.stdout.read1(4_096)  # type: ignore[attr-defined]
        assert piece, tap.told()
        out += piece
    return tap, out


def ended(tap: Child, out: bytes, numbers: Sequence[signal.Signals]) -> Done:
    for number in numbers:
        tap.send(number)
        time.sleep(0.03)
    out += tap.stdout.read()
    return Done(tap.wait(), out, tap.told())


def assert_goes_on(shop: Shop, first: Done) -> None:
    """Whole lines and a STATE, from which the next run brings the rest."""
    first.assert_singer()
    assert first.lines == []
    assert "Traceback" not in first.told
    assert keys(first) < ALL
    shop.state.write_text(json.dumps(first.last_state))
    second = finish(start(shop.command(), shop.environment))
    assert second.code == 0, second.told
    assert keys(first, second) == ALL
    # Pages in flight may come twice, what was noted as written does not.
    twice = len(first.records("lines")) + len(second.records("lines")) - PARENTS * LINES
    assert twice <= 2 * 4


@pytest.fixture(autouse=True)
def _hangups_count() -> Iterator[None]:
    """Also where the tests themselves ignore SIGHUP, as under nohup: processes inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def shop(tmp_path: Path) -> Callable[..., Shop]:
    """A shop with orders and their lines, four of them read at a time."""

    def made(api: Hostile, **http: Any) -> Shop:
        text = connector("orders", "lines", **({"http": http} if http else {}))
        return Shop(tmp_path, api.url, text, parallel=4)

    return made


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGTERM],
        [signal.SIGINT, signal.SIGINT],
        [signal.SIGHUP],
        [signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
    ],
    ids=str,
)
def test_a_signal_ends_a_run_with_several_lanes(
    numbers: list[signal.Signals], shop: Callable[..., Shop]
) -> None:
    with hostile(paged) as api:
        made = shop(api)
        first = ended(*busy(made), numbers)
        assert first.code in {128 + number for number in numbers}, first.told
        assert_goes_on(made, first)


def test_a_run_that_ignores_hangups_goes_on(shop: Callable[..., Shop]) -> None:
    with hostile(paged) as api:
        run = ended(*busy(shop(api), "nohup"), [signal.SIGHUP])
    assert run.code == 0, run.told
    assert keys(run) == ALL


def test_a_server_that_answers_nothing_keeps_no_run_alive(shop: Callable[..., Shop]) -> None:
    def silent(asked: Asked) -> Raw:
        return Raw(b"", "hang") if asked.path == HANGS else paged(asked)

    with hostile(silent) as api:
        made = shop(api, timeout=PATIENT)
        tap, out = busy(made)
        while not any(asked.path == HANGS for asked in api.asked):
            time.sleep(0.05)
        began = time.monotonic()
        first = ended(tap, out, [signal.SIGTERM])
        assert time.monotonic() - began < 9
        assert first.code == 128 + signal.SIGTERM, first.told
        api.answer = paged
        assert_goes_on(made, first)


def test_a_first_request_without_an_answer_is_ended_too(shop: Callable[..., Shop]) -> None:
    with hostile(lambda _: Raw(b"", "hang")) as api:
        made = shop(api, timeout=PATIENT)
        tap = start(made.command("--discover"), made.environment)
        while not api.asked:
            time.sleep(0.05)
        done = ended(tap, b"", [signal.SIGTERM])
    assert (done.code, done.lines, done.out) == (128 + signal.SIGTERM, [], b"")
