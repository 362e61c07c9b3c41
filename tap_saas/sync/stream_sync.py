"""Pages into Singer: prepare, write, note, STATE; once around for each page."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_saas.client.limiter import BudgetSpentError, StoppedError
from tap_saas.connector import formats
from tap_saas.connector.decode import Decoded, read_records
from tap_saas.connector.exchange import Page, Response
from tap_saas.connector.responses import observed_at
from tap_saas.errors import RejectRatioError, TapSaasError
from tap_saas.sync import discovery, rejects, sdk
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.ends import PlannedEnd
from tap_saas.sync.fast import SurpriseError
from tap_saas.sync.feeds import Fed
from tap_saas.sync.ledgers import RUNS
from tap_saas.sync.newest import Newest
from tap_saas.sync.prepare import Preparer
from tap_saas.sync.pull import Pull, PullFeed
from tap_saas.sync.shape import Batch, Shape
from tap_saas.sync.writer import PageWriter, RecordLines

if TYPE_CHECKING:
    from tap_saas.sync.stream import SaasStream

log = logging.getLogger(__name__)
STATE_EVERY_S = 5.0
SLOW_WRITE_S = 0.05  # a write that takes longer was held back by the target


class StreamSync:
    """One sync of one stream: made, run once, thrown away."""

    def __init__(self, stream: SaasStream) -> None:
        self._stream, self._run, self._form = stream, stream.run, stream.form
        self._tap = stream.saas_tap
        self._writer: PageWriter = self._tap.message_writer  # type: ignore[assignment]
        self._state: sdk.StateLine = self._tap.state_writer  # type: ignore[assignment]
        self._lines = RecordLines(stream.name)
        self._whole = Bookmark(stream.stream_state, stream.name)
        self._ledger = rejects.Ledger(
            stream.name, self._run.id, self._run.redactor.mask, self._form.max_rejects
        )
        columns = stream.columns
        self._plain = sdk.is_plain(stream)
        self._preparer = Preparer(self._shape(columns), Newest(), fast=self._plain)
        self._shaped_for: dict[str, Any] = {}
        self._aside: Counter[str] = Counter()
        self._emitted = 0
        self._unsaid = 0
        self._said_at = time.monotonic()

    def _shape(self, columns: Any) -> Shape:
        form, stream = self._form, self._stream
        declared = form.schema_ if isinstance(form.schema_, Mapping) else None
        return Shape(
            stream=stream.name,
            columns=columns,
            key=form.key_columns,
            version=form.version_column,
            incremental=form.incremental if stream.is_incremental else None,
            constant=form.context,
            observed=form.version_column if form.version_kind == "observed" else None,
            dropped=sdk.dropped(stream, columns.by_name) if self._plain else frozenset(),
            declared=declared,
            on_new_field=form.on_new_field,
            on_invalid=form.on_invalid,
            shaper=form.shaper(self._run.values),
        )

    def run(self) -> None:
        """Sync the stream to its end, to a planned end or to a signal.

        Raises:
            TapSaasError: what stopped it; STATE says how far it came.
            SystemExit: a signal did, with 128 + its number.
        """
        if self._is_fresh():
            return
        report, name = self._run.report, self._stream.name
        report.start(name)
        counter, timer = self._stream.get_record_counter(), self._stream.get_sync_timer()
        exit_code, incomplete = 0, None
        try:
            with counter, timer:
                self._pull(counter)
        except (PlannedEnd, BudgetSpentError) as end:
            incomplete = self._run.planned_end = str(end)
            log.warning("%s: incomplete: %s; the next run goes on here", name, end)
        except StoppedError:
            exit_code = 128 + self._run.stop.signum
            incomplete = "stopped by a signal"
        except TapSaasError as error:
            exit_code = error.exit_code
            raise
        finally:
            report.finish(name, exit_code, incomplete=incomplete)
            self._end()
        if self._run.stop.signum:
            raise SystemExit(128 + self._run.stop.signum)

    def _is_fresh(self) -> bool:
        """True where `every` says that it is too early to pull again."""
        every: timedelta | None = self._form.every
        last = self._whole.data["last_success_ts"]
        if every is None or last is None or self._whole.walks:
            return False
        age = self._run.now() - formats.read_instant(last)
        if age < every:
            log.info("%s: pulled %s ago, every %s: not due", self._stream.name, age, every)
            return True
        return False

    def _pull(self, counter: Any) -> None:
        if self._stream.sample_error is not None:
            raise self._stream.sample_error
        begun = copy.deepcopy(self._whole.data)
        feed = self._feed()
        watermark = self._whole.data["replication_key_value"]
        self._run.report.moved(self._stream.name, watermark_from=watermark)
        try:
            for fed in feed.pages():
                self._page(fed, counter)
            self._ledger.judge(at_end=True)
        except RejectRatioError:
            # As if the run had not been: the next one reads and judges the same records again.
            self._whole.data.clear()
            self._whole.data.update(begun)
            raise

    def _feed(self) -> PullFeed:
        stream, run = self._stream, self._run
        return PullFeed(
            Pull(
                stream=self._form,
                streams=run.connector.streams,
                client=run.client,
                values=run.values,
                decode=self._decode,
                plain=discovery.plain_decode,
                bookmark=self._bookmark,
                partitions_kept=lambda: len(stream.stream_state.get("partitions") or ()),
                now=run.now,
                start_date=run.start_date,
                full=not stream.is_incremental,
                max_partitions=run.config.get("max_partitions", 5_000),
            )
        )

    def _bookmark(self, context: dict[str, Any] | None) -> Bookmark:
        if not context:
            return self._whole
        return Bookmark(self._stream.get_context_state(context), self._stream.name)

    def _decode(self, response: Response) -> Decoded:
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

    def _page(self, fed: Fed, counter: Any) -> None:
        """One page all the way: nothing is noted before it is written."""
        batch = self._prepare(fed)
        limit = self._stream.ABORT_AT_RECORD_COUNT
        if limit is not None:
            batch.rows = batch.rows[: limit - self._emitted]
        at = instant_text(self._run.now())
        chunk = self._stream.announce(batch.columns)
        records = self._encode(batch.rows, at)
        rejected = self._rejected(batch, at)
        before = time.monotonic()
        self._writer.write_page(chunk + records + rejected)
        self._report(batch, time.monotonic() - before, counter)
        self._emitted += len(batch.rows)
        if limit is not None and self._emitted >= limit:
            sdk.abort_dry_run(self._stream, limit)
        fed.written(batch)
        self._whole.data["schema"] = batch.columns.learnt()
        self._say(len(chunk) + len(records))
        self._ledger.judge()
        self._run.limits.check(self._run.report.requests)
        if self._run.stop.is_set():
            raise StoppedError

    def _prepare(self, fed: Fed) -> Batch:
        page: Page = fed.page
        constant = dict(fed.constant)
        if self._preparer.shape.observed:
            constant[self._preparer.shape.observed] = formats.normalise_instant(
                instant_text(observed_at(page.response))
            )
        self._ledger.records += page.received
        if page.lane == "fast":
            batch = self._preparer.prepare_fast(page.records, constant, fed.since)
            if batch is not None:
                return batch
            records = read_records(self._form.records, page.response)
        else:
            records = page.records
        if self._form.fields is not None and fed.constant and self._shaped_for != fed.constant:
            values = {**self._run.values, **fed.constant}
            self._preparer.shape_by(self._form.shaper(values))
            self._shaped_for = dict(fed.constant)
        return self._preparer.prepare(records, constant, fed.since)

    def _encode(self, rows: list[Any], at: str) -> bytes:
        if not rows:
            return b""
        if self._plain:
            return self._lines.encode(rows, at)
        return sdk.mapped_lines(self._stream, map(sdk.to_plain, rows))

    def _rejected(self, batch: Batch, at: str) -> bytes:
        if not batch.rejects:
            return b""
        rows = self._ledger.rows(batch.rejects, at)
        for row in rows:
            self._run.report.failed(self._stream.name, row["error"])
        ledger = self._stream.ledgers.get(rejects.STREAM)
        return b"" if ledger is None else ledger.lines(rows, at)

    def _report(self, batch: Batch, wrote_s: float, counter: Any) -> None:
        report, name = self._run.report, self._stream.name
        counter.increment(len(batch.rows))
        self._aside.update(
            {
                "older versions left out": batch.stale,
                "records filtered": batch.filtered,
                "values kept in a __text column": batch.contradicted,
            }
        )
        report.ingested(name, len(batch.rows))
        if batch.rejects:
            report.rejected(name, len(batch.rejects))
        if wrote_s > SLOW_WRITE_S:
            report.waited(name, "target", wrote_s)

    def _say(self, written: int) -> None:
        """STATE after a page; less often where the state is as large as what it speaks of."""
        sdk.mark_changed(self._stream)
        self._unsaid += written
        now = time.monotonic()
        if self._unsaid >= 2 * self._state.size or now - self._said_at >= STATE_EVERY_S:
            self._state.write_state(sdk.live_state(self._tap))
            self._unsaid, self._said_at = 0, now

    def _end(self) -> None:
        """The stream's row in `_runs`, then STATE."""
        name, data = self._stream.name, self._whole.data
        for what, count in self._aside.items():
            if count:
                log.info("%s: %s: %d", name, what, count)
        self._run.report.moved(
            name, watermark_to=data["replication_key_value"], last_cursor=data["last_cursor"]
        )
        ledger = self._stream.ledgers.get(RUNS)
        if ledger is not None and self._stream.ABORT_AT_RECORD_COUNT is None:
            rows = [row for row in self._run.report.rows() if row["stream"] == name]
            self._writer.write_page(ledger.lines(rows, instant_text(self._run.now())))
        if self._stream.ABORT_AT_RECORD_COUNT is None:
            self._state.write_state(sdk.live_state(self._tap))
