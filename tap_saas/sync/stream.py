"""One stream in the SDK's eyes: its name, keys and schema; the work is done page by page by
`StreamSync`.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable
from functools import cached_property
from typing import Any

from singer_sdk import Stream, Tap

from tap_saas.client.stores import StoreLostError
from tap_saas.connector import model
from tap_saas.errors import TapSaasError
from tap_saas.sync import discovery, readings, sdk
from tap_saas.sync.bookmark import Bookmark, learnt_schema
from tap_saas.sync.columns import Columns, bad_name, kind_of
from tap_saas.sync.ledgers import LedgerStream
from tap_saas.sync.output import StreamOutput
from tap_saas.sync.run import Run
from tap_saas.sync.sweeps import forced

log = logging.getLogger(__name__)


class SaasStream(Stream):
    """A stream of a connector."""

    def __init__(
        self,
        tap: Tap,
        form: model.Stream,
        run: Run,
        memory: discovery.Memory,
        ledgers: dict[str, LedgerStream],
    ) -> None:
        self.name = form.name
        self.form, self.run, self.ledgers = form, run, ledgers
        self._memory = memory
        self._columns: Columns | None = None
        self._announced = False
        self.sample_error: TapSaasError | None = None
        super().__init__(tap, name=form.name)
        self.primary_keys = form.key_columns
        self.replication_key = form.replication_key

    @property
    def saas_tap(self) -> Tap:
        """The tap, for the parts of `sync` that write."""
        return self._tap

    @cached_property
    def output(self) -> StreamOutput:
        """What makes lines of this stream's records, the same for all feeds of a run."""
        return StreamOutput(self)

    @property
    def columns(self) -> Columns:
        """The columns as known now; a schema that must be learnt costs one request, once a home."""
        if self._columns is None:
            columns = discovery.columns_of(self.run, self.form)
            learnt = self._memory.load().get(self.name)
            if learnt is not None:
                columns = columns.with_learnt(learnt)
            elif (
                self.run.samples
                and self._tap.input_catalog is None
                and not discovery.knows_all(self.form, columns)
            ):
                columns = self._sample(columns)
            self._columns = columns
        return self._columns

    def _sample(self, columns: Columns) -> Columns:
        """The columns that the first page shows; a stream that fails here fails again in its own
        sync.
        """
        try:
            columns = discovery.sample(self.run, self.form, columns)
        except TapSaasError as error:
            self.sample_error = error
            log.warning("%s: its schema could not be learnt yet: %s", self.name, error)
            return columns
        self._memory.keep(self.name, columns.learnt())
        return columns

    def remember(self, columns: Columns) -> None:
        """Take these columns from now on; what was learnt is kept in `home`."""
        self._columns = columns
        if columns.learnt():
            self._memory.keep(self.name, columns.learnt())

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the stream; `x-version` names its version for the target's guard."""
        schema = self.columns.json_schema()
        version = self.form.version_column
        text = self.form.version_kind == "text"
        schema["x-version"] = {"text": version} if text else version
        return {**schema, **readings.annotation(self.form)}

    @property
    def metadata(self) -> Any:
        """The SDK's metadata; key, replication key and version cannot be deselected."""
        fresh = self._metadata is None
        metadata = super().metadata
        if fresh:
            for name in (*self.form.key_columns, self.form.version_column):
                entry = metadata.get(("properties", name)) if name else None
                if entry is not None:
                    entry.inclusion = entry.InclusionType.AUTOMATIC
        return metadata

    def recall(self) -> None:
        """Take the columns of the catalog and of the state too."""
        known = self.columns
        catalog = [
            [name, kind_of(sub)]
            for name, sub in sdk.catalog_columns(self).items()
            if name not in known.by_name and not bad_name(name)
        ]
        learnt = [*catalog, *learnt_schema(self.stream_state)]
        if learnt:
            self._columns = known.with_learnt(learnt)

    @property
    def pulls(self) -> bool:
        """True where this run reads the stream's own list: by its feeds, or to close a gap."""
        return "pull" in self.run.feeds or forced(self._whole, self.run.now()) is not None

    @property
    def awaits_activation(self) -> bool:
        """True where the state proves a sweep written that the target was not told of."""
        return bool(self._whole.data["activate"])

    @property
    def _whole(self) -> Bookmark:
        return Bookmark(self.stream_state, self.name)

    @property
    def is_incremental(self) -> bool:
        """True unless there is no replication key, or a catalog says FULL_TABLE."""
        return self.form.incremental is not None and self.forced_replication_method != "FULL_TABLE"

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        """Not used: pages are written whole."""
        return ()

    def get_replication_key_signpost(self, context: Any = None) -> None:
        """None: the watermark's limit is ours (`lag`)."""

    def _write_schema_message(self) -> None:
        """SCHEMA with all columns that are known; a stream whose key is not known yet waits for a
        page.
        """
        self.recall()
        if not (self.pulls or self.awaits_activation):
            return
        self._tap.message_writer.write_page(self.announce(self.columns))  # type: ignore[attr-defined]

    @property
    def is_announced(self) -> bool:
        """True once SCHEMA has been written."""
        return self._announced

    def announce(self, columns: Columns) -> bytes:
        """The SCHEMA lines where these columns have not been announced yet."""
        if self._announced and columns is self._columns:
            return b""
        self.remember(columns)
        if any(name not in columns.by_name for name in self.form.key_columns):
            return b""
        sdk.register_schema(self, self.schema)
        self._announced = True
        return sdk.schema_lines(self)

    def _sync_records(self, context: Any = None, *, write_messages: bool = True) -> Generator[Any]:
        """Sync the stream; a failure is told, kept for the end of the run, and does not stop the
        others, unless it is that of the budgets.
        """
        from tap_saas.sync.stream_sync import StreamSync

        yield from ()
        if self.run.planned_end is not None or not (self.pulls or self.awaits_activation):
            return
        try:
            StreamSync(self).run()
        except StoreLostError:
            raise
        except TapSaasError as error:
            if self.ABORT_AT_RECORD_COUNT is not None:
                raise
            log.error("%s", error)
            self.run.failures.append(error)
