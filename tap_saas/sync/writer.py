"""stdout: Singer messages as bytes, and whole pages in one write."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from singer_sdk.contrib.msgspec import MsgSpecWriter

from tap_saas.errors import TargetError

ENCODER = msgspec.json.Encoder(decimal_format="number")


class PageWriter(MsgSpecWriter):
    """The tap's only writer. A line is never cut short: a signal ends a run between two pages.

    Raises:
        TargetError: the target has closed its input.
    """

    def write_page(self, chunk: bytes | bytearray) -> None:
        """Write whole lines; returns when all of them are on their way."""
        # Under PYTHONUNBUFFERED sys.stdout.buffer is a raw FileIO: a signal cuts its write short
        # without an error.
        view = memoryview(chunk)
        try:
            while view:
                view = view[_write(view) :]
        except OSError as error:
            raise target_gone(error) from None

    def write_message(self, message: Any) -> None:
        """Write one message and push out all before it."""
        self.write_page(bytes(self.format_message(message)))
        self.flush()

    def flush(self) -> None:
        """Push out what is buffered."""
        try:
            while not _is_flushed():
                _wait()
        except OSError as error:
            raise target_gone(error) from None


def _write(view: memoryview) -> int:
    """How many bytes were taken; a pipe that somebody has made non-blocking is waited for."""
    try:
        taken = sys.stdout.buffer.write(view)
    except BlockingIOError as full:
        taken = full.characters_written
    # A raw file gives None where it would block.
    if not taken:
        _wait()
    return taken or 0


def _is_flushed() -> bool:
    try:
        sys.stdout.buffer.flush()
    except BlockingIOError:
        return False
    return True


def _wait() -> None:
    """Wait until the pipe takes more; a target that is gone is seen by the next write."""
    select.select([], [sys.stdout.buffer], [])


def target_gone(error: OSError) -> TargetError:
    """The error for a pipe that is closed, or a file that takes no more."""
    if isinstance(error, BrokenPipeError):
        return TargetError(
            "the target has closed its input",
            do="read its last lines; the next run goes on from the last state that it echoed",
        )
    return TargetError(
        f"standard output takes no more ({error.strerror})",
        do="mend that; the next run goes on from the last state that a target echoed",
    )


class RecordLines:
    """RECORD messages of one stream, made from records with the constant parts encoded once."""

    def __init__(self, stream: str) -> None:
        self._head = b'{"type":"RECORD","stream":' + ENCODER.encode(stream) + b',"record":'

    def encode(
        self,
        records: Iterable[Any],
        extracted_at: str,
        version: int | None = None,
        encode: Callable[[Any], bytes] = ENCODER.encode,
    ) -> bytes:
        """The lines of the records, each ended by a newline; no records give no bytes.

        `version` is that of a sweep (Singer, RECORD).
        """
        swept = b"" if version is None else b',"version":%d' % version
        tail = swept + b',"time_extracted":"' + extracted_at.encode() + b'"}\n'
        joined = (tail + self._head).join(map(encode, records))
        return self._head + joined + tail if joined else b""
