"""Pages into Singer: prepare, write, note, STATE; once around for each page."""

from __future__ import annotations

import copy
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_saas.client.limiter import BudgetSpentError, StoppedError
from tap_saas.connector import formats
from tap_saas.errors import RejectRatioError, TapSaasError
from tap_saas.sync import discovery, sdk
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.ends import PlannedEnd
from tap_saas.sync.feeds import Fed
from tap_saas.sync.ledgers import RUNS
from tap_saas.sync.pull import Pull, PullFeed
from tap_saas.sync.writer import PageWriter

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
        self._whole = Bookmark(stream.stream_state, stream.name)
        self._output = stream.output
        self._emitted = 0
        self._unsaid = 0
        self._said_at = time.monotonic()

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
            self._output.ledger.judge(at_end=True)
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
                decode=self._output.decode,
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

    def _page(self, fed: Fed, counter: Any) -> None:
        """One page all the way: nothing is noted before it is written."""
        batch = self._output.prepare_page(fed.page, fed.constant, fed.since)
        limit = self._stream.ABORT_AT_RECORD_COUNT
        if limit is not None:
            batch.rows = batch.rows[: limit - self._emitted]
        chunk = self._output.lines(batch, instant_text(self._run.now()))
        self._write(chunk)
        self._output.count(batch)
        counter.increment(len(batch.rows))
        self._emitted += len(batch.rows)
        if limit is not None and self._emitted >= limit:
            sdk.abort_dry_run(self._stream, limit)
        fed.written(batch)
        self._whole.data["schema"] = batch.columns.learnt()
        self._say(len(chunk))
        self._output.ledger.judge()
        self._run.limits.check(self._run.report.requests)
        if self._run.stop.is_set():
            raise StoppedError

    def _write(self, chunk: bytes) -> None:
        before = time.monotonic()
        self._writer.write_page(chunk)
        wrote_s = time.monotonic() - before
        if wrote_s > SLOW_WRITE_S:
            self._run.report.waited(self._stream.name, "target", wrote_s)

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
        self._output.tell()
        self._run.report.moved(
            name, watermark_to=data["replication_key_value"], last_cursor=data["last_cursor"]
        )
        ledger = self._stream.ledgers.get(RUNS)
        if ledger is not None and self._stream.ABORT_AT_RECORD_COUNT is None:
            rows = [row for row in self._run.report.rows() if row["stream"] == name]
            self._writer.write_page(ledger.lines(rows, instant_text(self._run.now())))
        if self._stream.ABORT_AT_RECORD_COUNT is None:
            self._state.write_state(sdk.live_state(self._tap))
