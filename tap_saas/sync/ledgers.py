"""The two streams of our own: `_rejects` and `_runs`. They have no list; others write into them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk.singerlib import SelectionMask

from tap_saas.report import RUN_SCHEMA
from tap_saas.sync import rejects, sdk
from tap_saas.sync.writer import RecordLines

RUNS = "_runs"


class LedgerStream(Stream):
    """A stream without requests; `emit_rejects` and `emit_runs` turn it off, selection does not."""

    def __init__(self, tap: Tap, name: str, schema: dict[str, Any], keys: tuple[str, ...]) -> None:
        self.name = name
        super().__init__(tap, schema=schema, name=name)
        self.primary_keys = keys
        self._announced = False
        self._lines = RecordLines(name)

    @property
    def selected(self) -> bool:
        """Always: what is rejected must be kept."""
        return True

    @selected.setter
    def selected(self, value: bool | None) -> None:
        """Ignored."""

    @property
    def mask(self) -> SelectionMask:
        """All of its columns, whatever the catalog selects: without its key a target refuses it."""
        return SelectionMask({(): True})

    @property
    def stream_maps(self) -> list[Any]:
        """Those of the mapper, for the whole stream."""
        sdk.register_whole(self)
        return super().stream_maps

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        """None of its own."""
        return ()

    def _sync_records(self, context: Any = None, *, write_messages: bool = True) -> Generator[Any]:
        """Nothing is read; SCHEMA has been written."""
        yield from ()

    def _write_schema_message(self) -> None:
        """SCHEMA once, whoever needs it first."""
        self._tap.message_writer.write_page(self._announce())  # type: ignore[attr-defined]

    def _announce(self) -> bytes:
        if self._announced:
            return b""
        self._announced = True
        return sdk.schema_lines(self)

    def lines(self, rows: list[dict[str, Any]], at: str) -> bytes:
        """The messages for these rows, SCHEMA before the first."""
        if not rows:
            return b""
        if sdk.is_plain(self):
            return self._announce() + self._lines.encode(rows, at)
        return self._announce() + sdk.mapped_lines(self, rows)


def rejects_stream(tap: Tap) -> LedgerStream:
    """The stream `_rejects`."""
    return LedgerStream(tap, rejects.STREAM, rejects.SCHEMA, rejects.KEY)


def runs_stream(tap: Tap) -> LedgerStream:
    """The stream `_runs`: a row a run and stream."""
    return LedgerStream(tap, RUNS, RUN_SCHEMA, ("run_id", "stream"))
