"""Progress: what suits stderr, lines that stay below all others, a log line a minute."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tap_saas.report import Report, Run, Snapshot, Waiting
from tap_saas.runs.bottom_lines import ALL_ROWS, BottomLines, can_draw
from tap_saas.runs.progress import Live, LogLines, progress_for

BEGAN = datetime(2025, 3, 1, tzinfo=UTC)


class Terminal:
    """A terminal of 20 rows and 80 columns, and what was written to it."""

    def __init__(self) -> None:
        self._other, self.file = pty.openpty()
        self.resize(20, 80)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def written(self) -> str:
        """What was written since the last call; the kernel passes it on in its own time."""
        text = b""
        while select.select([self._other], [], [], 0.2)[0]:
            text += os.read(self._other, 1 << 16)
        return text.decode()

    def close(self) -> None:
        os.close(self.file)
        os.close(self._other)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal()
    yield found
    found.close()


def snapshot(
    elapsed_s: float, *, records: int = 0, waiting: list[Waiting] | None = None
) -> Snapshot:
    rows = [
        Run(run_id="r", stream="customers", started_at=BEGAN, rows_ingested=5, exit=0),
        Run(run_id="r", stream="orders", started_at=BEGAN, rows_ingested=records, requests=2),
    ]
    return Snapshot(
        elapsed_s=elapsed_s, rows=rows, rejects={}, statuses={}, used={}, waiting=waiting or [],
        reading=["orders"],
    )  # fmt: skip


def plain(text: str) -> list[str]:
    """The lines that were drawn, without what steers the terminal."""
    drawn = re.findall(r"\x1b\[\d+;1H\x1b\[2K(.*?)(?=\x1b\[\d+;1H|\x1b8)", text, re.DOTALL)
    return [re.sub(r"\x1b\[[\d;]*m", "", line).strip() for line in drawn]


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}, {}])
def test_colours_that_are_not_wanted_are_no_live_lines(
    environment: dict[str, str], terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(terminal.file, "w", closefd=False) as stream:
        monkeypatch.setattr("sys.stderr", stream)
        assert isinstance(progress_for("acme", "run1", 2, environment), LogLines)
        assert isinstance(progress_for("acme", "run1", 2, {"TERM": "xterm"}), Live)
    assert terminal.written() == ""


def test_only_a_terminal_that_is_high_enough_is_drawn_on(terminal: Terminal) -> None:
    assert not can_draw(io.StringIO())
    with Path(os.devnull).open("w") as null:
        assert not can_draw(null)
    with open(terminal.file, "w", closefd=False) as stream:
        assert can_draw(stream)
        terminal.resize(7, 80)
        assert not can_draw(stream)


def test_live_lines_say_what_is_read_and_what_it_waits_for(terminal: Terminal) -> None:
    live = Live(BottomLines(terminal.file, 2), "acme", "abcdef123456", 3)
    live.show(snapshot(1.0))
    live.show(snapshot(3.0, records=1_000, waiting=[Waiting("orders", "api", "the API", 2.0, 7.0)]))
    whole, stream = plain(terminal.written())[-2:]
    assert whole.startswith("acme  run abcdef  3 s  1 of 3 streams done  1,005 records")
    assert stream == "orders  1,000 records  500/s  2 requests  waiting 4 s for the API"


def test_a_target_that_holds_back_is_told(terminal: Terminal) -> None:
    live = Live(BottomLines(terminal.file, 2), "acme", "abcdef123456", 3)
    wait = Waiting("orders", "target", "the target", 2.0, 2.0)
    live.show(snapshot(9.0, waiting=[wait]))
    assert plain(terminal.written())[-1].endswith("waiting for the target, 7 s now")


def test_lines_are_drawn_below_what_scrolls_and_given_back(terminal: Terminal) -> None:
    lines = BottomLines(terminal.file, 2)
    lines.draw([[("first", "bold")], [("second", "")]])
    text = terminal.written()
    assert "\x1b[1;18r" in text
    assert plain(text) == ["first", "second"]
    lines.draw([[("third", "")]])
    text = terminal.written()
    assert "r" not in re.findall(r"\x1b\[[\d;]*([a-z])", text)
    assert plain(text) == ["third", ""]
    lines.close()
    text = terminal.written()
    assert ALL_ROWS in text
    assert plain(text) == ["", ""]
    lines.draw([[("late", "")]])
    lines.close()
    assert terminal.written() == ""


def test_a_line_is_never_wider_than_the_terminal(terminal: Terminal) -> None:
    terminal.resize(20, 30)
    lines = BottomLines(terminal.file, 2)
    lines.draw([[("x" * 500, "")], [("y" * 30, "")]])
    first, second = plain(terminal.written())
    assert (len(first), first[-1], second) == (30, "…", "y" * 30)


def test_another_size_of_the_terminal_moves_the_lines(terminal: Terminal) -> None:
    lines = BottomLines(terminal.file, 2)
    lines.draw([[("a", "")]])
    terminal.written()
    terminal.resize(40, 80)
    lines.draw([[("a", "")]])
    assert "\x1b[1;38r" in terminal.written()


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    terminal = Terminal()
    lines = BottomLines(terminal.file, 2)
    lines.draw([[("a", "")]])
    terminal.close()
    lines.draw([[("b", "")]])
    lines.close()


def test_a_log_line_a_minute_for_each_stream_that_is_read(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    report = Report("run1", timer=lambda: now)
    report.start("customers")
    report.finish("customers", 0)
    report.requested("parents")
    report.start("orders")
    report.requested("orders")
    report.ingested("orders", 1_200)
    report.waited("orders", "budget", 3.25)
    lines = LogLines()
    with caplog.at_level(logging.INFO):
        for second in range(200):
            now = float(second)
            lines.show(report.snapshot())
    assert [record.getMessage() for record in caplog.records] == [
        "progress stream=orders records=1200 requests=1 waited_s=3.2"
    ] * 3
