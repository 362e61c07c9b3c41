"""Lines that stay at the bottom of a terminal, whoever else writes to it.

All that is above them becomes the terminal's scrolling region (DECSTBM, VT100): what this process
logs, and what a target in the same pipe writes, scrolls there and is never drawn over.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from typing import IO

SAVE, RESTORE = "\x1b7", "\x1b8"
ALL_ROWS = "\x1b[r"
CLEAR_LINE = "\x1b[2K"
FEWEST_ROWS = 8

Line = Sequence[tuple[str, str]]


def can_draw(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that is high enough."""
    try:
        return (
            os.name == "posix"
            and stream.isatty()
            and os.get_terminal_size(stream.fileno()).lines >= FEWEST_ROWS
        )
    except (OSError, ValueError):
        return False


class BottomLines:
    """So many lines at the bottom of the terminal `file`; each change is one write."""

    def __init__(self, file: int, height: int) -> None:
        self._file = file
        self._height = height
        self._size: os.terminal_size | None = None
        self._is_gone = False

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines, texts with their styles; the cursor stays where it is."""
        if self._is_gone or not self._is_in_front():
            return
        try:
            size = os.get_terminal_size(self._file)
            out = self._reserve(size) if size != self._size else ""
            self._size = size
            if size.lines < FEWEST_ROWS:
                return
            self._write(out + SAVE + self._drawn(lines, size) + RESTORE)
        except OSError:
            self._is_gone = True

    def close(self) -> None:
        """Clear the lines and let the whole terminal scroll again."""
        if self._size is None or self._is_gone:
            return
        self._is_gone = True
        with contextlib.suppress(OSError):
            cleared = "".join(f"\x1b[{row};1H{CLEAR_LINE}" for row in self._rows(self._size))
            self._write(SAVE + ALL_ROWS + cleared + RESTORE)

    def _reserve(self, size: os.terminal_size) -> str:
        """Make room below the cursor, and keep it out of what scrolls."""
        if size.lines < FEWEST_ROWS:
            return SAVE + ALL_ROWS + RESTORE
        room = "\n" * self._height + f"\x1b[{self._height}A"
        return f"{SAVE}{ALL_ROWS}{RESTORE}{room}{SAVE}\x1b[1;{size.lines - self._height}r{RESTORE}"

    def _rows(self, size: os.terminal_size) -> range:
        return range(size.lines - self._height + 1, size.lines + 1)

    def _drawn(self, lines: Sequence[Line], size: os.terminal_size) -> str:
        padded = [*lines, *[[]] * self._height]
        return "".join(
            f"\x1b[{row};1H{CLEAR_LINE}{_styled(line, size.columns)}"
            for row, line in zip(self._rows(size), padded, strict=False)
        )

    def _is_in_front(self) -> bool:
        """False where another job of the shell has the terminal."""
        try:
            return os.tcgetpgrp(self._file) == os.getpgrp()
        except OSError:
            return True  # a terminal, but not the one that controls this process

    def _write(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._file, data) :]


def _styled(line: Line, columns: int) -> str:
    """One line, cut to the terminal's width."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=columns,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(Text.assemble(*line), no_wrap=True, overflow="ellipsis", end="")
    return captured.get()
