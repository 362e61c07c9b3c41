"""Records of one stream into Singer lines, whichever feed they come from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tap_saas.connector import formats
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.responses import observed_at
from tap_saas.sync import rejects, sdk
from tap_saas.sync.bookmark import instant_text
from tap_saas.sync.columns import MORE
from tap_saas.sync.fast import SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.prepare import Preparer
from tap_saas.sync.shape import Batch, Shape
from tap_saas.sync.writer import RecordLines

if TYPE_CHECKING:
    from tap_saas.sync.stream import SaasStream

log = logging.getLogger(__name__)
SHOWN = 10  # names of new columns in a log line


class StreamOutput:
    """Prepares and encodes the records of one stream; one a run, shared by all feeds.

    `version` is that of the sweep in flight, written with each RECORD.

    That it is one matters: a target writes the last record of a batch, so an older version must
    not follow a newer one, whichever feed brings it.
    """

    def __init__(self, stream: SaasStream) -> None:
        self._stream, self._run, self._form = stream, stream.run, stream.form
        self._lines = RecordLines(stream.name)
        self._plain = sdk.is_plain(stream)
        self._preparer = Preparer(self._shape(), Newest(), fast=self._plain)
        self._shaped_for: dict[str, Any] = {}
        self._aside: Counter[str] = Counter()
        self.version: int | None = None
        self.ledger = rejects.Ledger(
            stream.name,
            self._run.id,
            self._run.redactor.mask,
            self._form.max_rejects,
            self._form.on_invalid,
        )
        self._known = set(stream.columns.by_name)
        self._schemas = 0

    def _shape(self) -> Shape:
        form, stream = self._form, self._stream
        columns = stream.columns
        return Shape(
            stream=stream.name,
            columns=columns,
            key=form.key_columns,
            version=form.version_column,
            text_version=form.version_kind == "text",
            incremental=form.incremental if stream.is_incremental else None,
            constant=form.context,
            observed=form.version_column if form.version_kind == "observed" else None,
            dropped=sdk.dropped(stream, (column.out for column in columns.by_name.values())),
            declared=form.schema_ if isinstance(form.schema_, Mapping) else None,
            on_new_field=form.on_new_field,
            shaper=form.shaper(self._run.values),
            flag=None if form.deletes is None else form.deletes.flag,
        )

    def decode(self, response: Response) -> Decoded:
        """Records for the fast lane where they fit it; called in the pager's thread."""
        lane = self._preparer.fast
        if lane is not None and self._form.records.is_plain:
            raw = response.document.raw(self._form.records.at)
            if raw is not None:
                try:
                    return Decoded(lane.decode(raw), "fast")
                except SurpriseError:
                    log.debug("stream=%s a page takes the dict lane", self._stream.name)
        return Decoded(read_records(self._form.records, response), "dict")

    def prepare_page(self, page: Page, constant: Mapping[str, Any], since: Any) -> Batch:
        """The batch of a page that `decode` decoded.

        Raises:
            ApiError: as `Preparer.prepare`.
        """
        columns = self._with_observed(constant, observed_at(page.response))
        self.ledger.records += page.received
        if page.lane == "fast":
            batch = self._preparer.prepare_fast(page.records, columns, since)
            if batch is not None:
                return batch
            records = read_records(self._form.records, page.response)
        else:
            records = page.records
        return self._prepare(records, constant, columns, since)

    def prepare(
        self,
        records: list[Any],
        observed: datetime | None = None,
        constant: Mapping[str, Any] | None = None,
    ) -> Batch:
        """The batch of records as JSON values, given at the instant `observed`, in their order.

        `constant` are the values of their partition.

        Raises:
            ApiError: as `Preparer.prepare`.
        """
        self.ledger.records += len(records)
        known = dict(constant or {})
        return self._prepare(records, known, self._with_observed(known, observed), None)

    def _prepare(
        self, records: list[Any], constant: Mapping[str, Any], columns: dict[str, Any], since: Any
    ) -> Batch:
        if self._form.fields is not None and constant and self._shaped_for != constant:
            self._preparer.shape_by(self._form.shaper({**self._run.values, **constant}))
            self._shaped_for = dict(constant)
        return self._preparer.prepare(records, columns, since)

    def _with_observed(
        self, constant: Mapping[str, Any], observed: datetime | None
    ) -> dict[str, Any]:
        columns = dict(constant)
        if self._preparer.shape.observed and observed is not None:
            text = formats.normalise_instant(instant_text(observed))
            columns[self._preparer.shape.observed] = text
        return columns

    def lines(self, batch: Batch, at: str) -> bytes:
        """SCHEMA where it is new, the batch's RECORDs, and its rejects' RECORDs."""
        schema = self._stream.announce(batch.columns)
        self._schemas += bool(schema)
        return schema + self._encode(batch.rows, at) + self._rejected(batch, at)

    def _encode(self, rows: list[Any], at: str) -> bytes:
        if not rows:
            return b""
        if self._plain:
            return self._lines.encode(rows, at, self.version)
        return sdk.mapped_lines(self._stream, map(sdk.to_plain, rows), self.version)

    def _rejected(self, batch: Batch, at: str) -> bytes:
        if not batch.rejects:
            return b""
        rows = self.ledger.rows(batch.rejects, at, batch.constant)
        ledger = self._stream.ledgers.get(rejects.STREAM)
        return b"" if ledger is None else ledger.lines(rows, at)

    def count(self, batch: Batch) -> None:
        """Count a batch that has been written."""
        self._aside.update(
            {
                "older versions left out": batch.stale,
                "records filtered": batch.filtered,
                "values that contradict their column, kept beside it": batch.contradicted,
                f"values without a column of their own, kept in {MORE}": batch.gathered,
            }
        )
        self._run.report.ingested(self._stream.name, len(batch.rows))
        if batch.rejects:
            errors = Counter(reject.error for reject in batch.rejects)
            self._run.report.rejected(self._stream.name, errors)

    def tell(self) -> None:
        """Say once, at the end, what was neither written nor rejected."""
        for what, count in self._aside.items():
            if count:
                log.info("%s: %s: %d", self._stream.name, what, count)
        self._aside.clear()
        new = sorted(self._preparer.shape.columns.by_name.keys() - self._known)
        if new:
            shown = ", ".join(new[:SHOWN]) + ", ..." * (len(new) > SHOWN)
            line = "%s: %d new columns, SCHEMA written %d times for them: %s"
            log.info(line, self._stream.name, len(new), self._schemas, shown)
        if self.ledger.errors:
            line = "%s: %d records rejected: %s (table %s)"
            errors = self.ledger.errors
            told = rejects.counted(errors.most_common())
            log.warning(line, self._stream.name, errors.total(), told, rejects.STREAM)
