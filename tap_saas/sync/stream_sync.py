"""Pages of a stream's own list into Singer: prepare, write, note, STATE; once around for each."""

from __future__ import annotations

import copy
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_saas.client.limiter import BudgetSpentError
from tap_saas.config import DEFAULT_PARALLEL
from tap_saas.connector import formats
from tap_saas.sync import deleted_list, discovery, readings, sdk, tokens
from tap_saas.sync.bookmark import Bookmark, instant_text
from tap_saas.sync.course import Course, follow
from tap_saas.sync.ends import PlannedEnd
from tap_saas.sync.feeds import Fed
from tap_saas.sync.ledgers import RUNS
from tap_saas.sync.pull import Pull, PullFeed
from tap_saas.sync.shape import Batch
from tap_saas.sync.sweeps import Sweeping

if TYPE_CHECKING:
    from tap_saas.sync.stream import SaasStream

log = logging.getLogger(__name__)


class StreamSync:
    """One sync of one stream: made, run once, thrown away."""

    def __init__(self, stream: SaasStream) -> None:
        self._stream, self._run, self._form = stream, stream.run, stream.form
        self._course = Course(stream.saas_tap, stream.run, stream.name)
        self._whole = Bookmark(stream.stream_state, stream.name)
        self._output = stream.output
        rules = None if self._form.deletes is None else self._form.deletes.sweep
        self._sweeping = Sweeping(stream.name, rules, self._whole, self._run.now())
        self._emitted = 0

    def run(self) -> None:
        """Sync the stream, or only tell the target of a sweep; raises as `follow` does."""
        if not self._stream.pulls:
            self._activate()
        elif not self._is_fresh():
            follow(self._run, self._stream.name, self._counted, self._end)

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

    def _counted(self) -> None:
        """The pull, within the SDK's metrics."""
        counter, timer = self._stream.get_record_counter(), self._stream.get_sync_timer()
        with counter, timer:
            self._pull(counter)

    def _pull(self, counter: Any) -> None:
        if self._stream.sample_error is not None:
            raise self._stream.sample_error
        self._activate()
        begun = copy.deepcopy(self._whole.data)
        feed = self._feed(sweep=self._begin_sweep())
        watermark = self._whole.data["replication_key_value"]
        self._run.report.moved(self._stream.name, watermark_from=watermark)
        try:
            self._delete_listed()
            try:
                self._read(feed, counter)
            except tokens.SyncTokenExpired:
                feed = self._swept_anew()
                self._read(feed, counter)
            self._output.ledger.judge(at_end=True)
            self._sweeping.end(feed.skipped, feed.restarts)
        except (PlannedEnd, BudgetSpentError):
            self._output.ledger.judge(at_end=True)
            raise
        finally:
            if self._output.ledger.is_over:
                # As if the run had not been: the next one reads and judges the same records again.
                self._whole.data.clear()
                self._whole.data.update(begun)

    def _read(self, feed: PullFeed, counter: Any) -> None:
        """All pages of the feed, each all the way."""
        for fed in feed.pages():
            batch = self._page(fed, counter)
            self._sweeping.note(batch, feed.skipped, feed.restarts)
            self._output.ledger.judge()
            sdk.mark_changed(self._stream)
            self._course.pause(silent=self._output.ledger.is_over)

    def _swept_anew(self) -> PullFeed:
        """The feed of a sweep, in the place of a pass that cannot go on."""
        self._whole.restart()
        self._whole.data["due"] = ["the sync token has expired"]
        return self._feed(sweep=self._begin_sweep())

    def _delete_listed(self) -> None:
        """Tombstones for what the API lists as deleted since the watermark, before the pass."""
        form, incremental = self._form, self._form.incremental
        if form.deletes is None or form.deletes.list_ is None or self._emits_little:
            return
        watermark = None if incremental is None else self._whole.watermark(incremental)
        since = None
        if incremental is not None:
            since = incremental.since(watermark, self._run.start_date)
        for page in deleted_list.pages(self._run, form, form.deletes.list_, since):
            kinds = {c.name: c.kind for c in self._stream.columns.by_name.values()}
            found, bad = deleted_list.tombstones(form, kinds, page)
            batch = self._output.prepare(found)
            batch.rejects += bad
            self._course.write(self._output.lines(batch, instant_text(self._run.now())))
            self._output.count(batch)
            self._course.pause()

    @property
    def _emits_little(self) -> bool:
        """True under `--test`, which wants one record only."""
        return self._stream.ABORT_AT_RECORD_COUNT is not None

    def _activate(self) -> None:
        """ACTIVATE_VERSION for the sweep that the state proves written."""
        version = self._sweeping.take_activation()
        if version is not None and self._stream.is_announced:
            self._course.write(sdk.activation_lines(self._stream, version))

    def _begin_sweep(self) -> bool:
        incremental = self._form.incremental
        watermark = None if incremental is None else self._whole.watermark(incremental)
        expired = (
            incremental is not None
            and watermark is not None
            and incremental.expired(watermark, self._run.now())
        )
        sweeps = self._sweeping.begin(expired=expired)
        flight = self._sweeping.flight
        self._output.version = None if flight is None else flight.version
        return sweeps

    def _feed(self, *, sweep: bool) -> PullFeed:
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
                began=run.now(),
                start_date=run.start_date,
                full=not stream.is_incremental,
                sweep=sweep,
                is_swept=tokens.is_swept(run.connector, self._form),
                parallel=run.config.get("parallel", DEFAULT_PARALLEL),
                max_partitions=run.config.get("max_partitions", 5_000),
            )
        )

    def _bookmark(self, context: dict[str, Any] | None) -> Bookmark:
        if not context:
            return self._whole
        return Bookmark(self._stream.get_context_state(context), self._stream.name)

    def _page(self, fed: Fed, counter: Any) -> Batch:
        """One page all the way: nothing is noted before it is written."""
        batch = self._output.prepare_page(fed.page, fed.constant, fed.since)
        limit = self._stream.ABORT_AT_RECORD_COUNT
        if limit is not None:
            batch.rows = batch.rows[: limit - self._emitted]
        at = instant_text(self._run.now())
        self._course.write(self._output.lines(batch, at) + self._empty_reading(fed, at))
        self._output.count(batch)
        counter.increment(len(batch.rows))
        self._emitted += len(batch.rows)
        if limit is not None and self._emitted >= limit:
            sdk.abort_dry_run(self._stream, limit)
        fed.written(batch)
        self._whole.data["schema"] = batch.columns.learnt()
        return batch

    def _empty_reading(self, fed: Fed, at: str) -> bytes:
        """The row of a parent that has no children (any more)."""
        read_at = fed.constant.get(readings.COLUMN)
        ledger = self._stream.ledgers.get(readings.STREAM)
        if not fed.is_empty or read_at is None or ledger is None:
            return b""
        parent = {name: fed.constant[name] for name in self._form.context}
        return ledger.lines([readings.row(self._stream.name, parent, read_at)], at)

    def _end(self) -> None:
        """The stream's row in `_runs`, then STATE."""
        name, data = self._stream.name, self._whole.data
        self._output.version = None
        self._output.tell()
        self._run.report.moved(
            name, watermark_to=data["replication_key_value"], last_cursor=data["last_cursor"]
        )
        if self._emits_little:
            return
        ledger = self._stream.ledgers.get(RUNS)
        if ledger is not None:
            rows = [row for row in self._run.report.rows() if row["stream"] == name]
            self._course.write(ledger.lines(rows, instant_text(self._run.now())))
        self._course.say()
