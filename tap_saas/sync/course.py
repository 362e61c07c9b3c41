"""The work on a stream or source, to its end or a planned one; STATE is written on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tap_saas.client.limiter import BudgetSpentError, StoppedError
from tap_saas.errors import TapSaasError
from tap_saas.sync import sdk
from tap_saas.sync.ends import PlannedEnd
from tap_saas.sync.run import Run

if TYPE_CHECKING:
    from singer_sdk import Tap

log = logging.getLogger(__name__)
STATE_EVERY_S = 5.0
SLOW_WRITE_S = 0.05  # a write that takes longer was held back by the target


def follow(run: Run, name: str, work: Callable[[], None], end: Callable[[], None]) -> None:
    """Do the work on the stream or source `name` to its end, to a planned end or to a signal.

    `end` is called in any case: it writes what is to be told, and STATE.

    Raises:
        TapSaasError: what stopped it; STATE says how far it came.
        SystemExit: a signal did, with 128 + its number.
    """
    report = run.report
    report.start(name)
    exit_code, incomplete = TapSaasError.exit_code, None
    try:
        work()
        exit_code = 0
    except (PlannedEnd, BudgetSpentError) as planned:
        exit_code = 0
        # Its own advice says the same.
        incomplete = planned.what if isinstance(planned, BudgetSpentError) else str(planned)
        run.planned_end = incomplete
        log.warning("%s: incomplete: %s; the next run goes on here", name, incomplete)
    except StoppedError:
        exit_code = 128 + run.stop.signum
        incomplete = "stopped by a signal"
    except TapSaasError as error:
        exit_code = error.exit_code
        raise
    finally:
        report.finish(name, exit_code, incomplete=incomplete)
        end()
    if run.stop.signum:
        raise SystemExit(128 + run.stop.signum)


class Course:
    """Writes pages, and STATE after them: less often where it is as large as what it speaks of."""

    def __init__(self, tap: Tap, run: Run, name: str) -> None:
        self._tap, self._run, self._name = tap, run, name
        self._state: sdk.StateLine = tap.state_writer  # type: ignore[assignment]
        self._unsaid = 0
        self._said_at = time.monotonic()

    def write(self, chunk: bytes) -> None:
        """Write whole lines; the time that the target holds them back is counted."""
        before = time.monotonic()
        self._run.report.waiting(self, self._name, "target", "the target", 0.0)
        try:
            self._tap.message_writer.write_page(chunk)  # type: ignore[attr-defined]
        finally:
            self._run.report.resumed(self)
        wrote_s = time.monotonic() - before
        if wrote_s > SLOW_WRITE_S:
            self._run.report.waited(self._name, "target", wrote_s)
        self._unsaid += len(chunk)

    def pause(self, *, silent: bool = False) -> None:
        """Between two pages: STATE where it is time for it, then whatever ends the run.

        `silent` keeps STATE back: what has been written must be read again if the run ends here.

        Raises:
            PlannedEnd, StoppedError: the run ends here.
        """
        now = time.monotonic()
        is_due = self._unsaid >= 2 * self._state.size or now - self._said_at >= STATE_EVERY_S
        if is_due and not silent:
            self.say()
            self._unsaid, self._said_at = 0, now
        self._run.limits.check()
        if self._run.stop.is_set():
            raise StoppedError

    def say(self) -> None:
        """Write STATE where it has changed."""
        self._state.write_state(sdk.live_state(self._tap))
