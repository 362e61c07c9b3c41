"""The tries of one request: how many, how long between them, and what the log says of each wait."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import tenacity

from tap_saas.client.limiter import Buckets, BudgetSpentError, Limiter, Slot, StoppedError, Wait
from tap_saas.connector.retry import Retry
from tap_saas.errors import ApiError
from tap_saas.report import Report

# Budgets make threads wait for milliseconds all the time: only what a person notices is told.
WORTH_TELLING_S = 1.0

Result = TypeVar("Result")
Say = Callable[[int, str], None]


class AgainError(Exception):
    """A try that is to be followed by another: a failure, or a wait that the API asks for.

    `asked` is its Retry-After; `message` is what the API said, already masked.
    """

    def __init__(
        self,
        cause: str,
        *,
        kind: str,
        is_wait: bool = False,
        asked: timedelta | None = None,
        buckets: Buckets = (),
        status: int | None = None,
        request_id: str | None = None,
        message: str | None = None,
    ) -> None:
        self.cause = cause
        self.kind = kind
        self.is_wait = is_wait
        self.asked = asked
        self.buckets = buckets
        self.status = status
        self.request_id = request_id
        self.message = message
        super().__init__(cause)

    @property
    def is_pause(self) -> bool:
        """True where everybody who spends of the same budgets has to wait too."""
        return self.is_wait or self.asked is not None


class Patience:
    """Tries until it works, within `retry`: a wait strategy and a stop strategy for tenacity.

    Waits that the API asks for are counted apart, each allows one try more: many of them are no
    failure as long as all fit in `retry.total`. The time spent on budgets does not count.
    """

    def __init__(
        self,
        retry: Retry,
        label: str,
        *,
        stream: str,
        stop: threading.Event,
        limiter: Limiter,
        report: Report,
        say: Say,
    ) -> None:
        self._retry = retry
        self._label = label
        self._stream = stream
        self._stop = stop
        self._limiter = limiter
        self._report = report
        self._say = say
        self._began = time.monotonic()
        self._budget_s = 0.0
        self._failures = 0
        self._waits = 0
        self._is_told = False

    @property
    def tries(self) -> int:
        """The number of the present try, from 1."""
        return self._failures + self._waits + 1

    def run(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` gives once it raises no `AgainError` any more.

        Raises:
            ApiError: Too many failures, or too long.
            BudgetSpentError: The API asks for a wait that is longer than `retry.total`.
            StoppedError: The run was asked to end during a wait.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AgainError),
            wait=self._wait_s,
            stop=self._is_over,
            before_sleep=self._tell,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except AgainError as last:
            raise self._given_up(last) from last
        finally:
            self._report.gave_up(self)

    def waiting(self, wait: Wait) -> None:
        """Tells of a wait in the limiter, unless it is the one that was just told of."""
        what = "the API" if wait.cause == "api" else f"budget {wait.budget}"
        self._report.waiting(self, self._stream, wait.cause, what, wait.seconds)
        if wait.seconds < WORTH_TELLING_S or (wait.cause == "api" and self._is_told):
            return
        why = "the API asked for a pause" if wait.cause == "api" else f"budget {wait.budget} spent"
        self._say(logging.WARNING, f"{self._label}: {why}, {self._outlook(wait.seconds)}")

    def granted(self, slot: Slot) -> None:
        """Counts what the limiter's wait has cost."""
        self._is_told = False
        self._budget_s += slot.waited.get("budget", 0.0)
        self._report.resumed(self)
        self._report.spent([(claim.budget, claim.bucket) for claim in slot.buckets])
        for cause, seconds in slot.waited.items():
            self._report.waited(self._stream, cause, seconds)

    def recovered(self, request_id: str | None) -> None:
        """Tells that it works again, where it had not."""
        if self.tries > 1:
            shown = f", request {request_id}" if request_id else ""
            took = f"recovered at try {self.tries} after {self._elapsed_s():.1f} s"
            self._say(logging.INFO, f"{self._label}: {took}{shown}")

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        again = _again(state)
        self._report.failed(self._stream, again.kind)
        if again.is_wait:
            self._waits += 1
        else:
            self._failures += 1
        count = self._waits if again.is_wait else self._failures
        return self._retry.wait(count, random.random(), again.asked).total_seconds()  # noqa: S311 - jitter

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        again = _again(state)
        if again.is_pause:
            self._limiter.pause(again.buckets, state.upcoming_sleep)
        if again.asked is not None and again.asked > self._retry.total:
            raise BudgetSpentError("of the API", again.asked.total_seconds())
        used_up = self._failures >= self._retry.attempts
        late = self._elapsed_s() + state.upcoming_sleep > self._retry.total.total_seconds()
        return used_up or late

    def _tell(self, state: tenacity.RetryCallState) -> None:
        again = _again(state)
        why = " (Retry-After)" if again.asked is not None else ""
        shown = f", request {again.request_id}" if again.request_id else ""
        outlook = self._outlook(state.upcoming_sleep, why)
        self._say(logging.WARNING, f"{self._label}: {again.cause}, {outlook}{shown}")
        self._is_told = again.is_pause

    def _sleep(self, seconds: float) -> None:
        """Waits here for a failure; a pause is waited for in the limiter, with all the others."""
        if self._is_told:
            return
        self._report.waiting(self, self._stream, "api", "the API", seconds)
        if self._stop.wait(seconds):
            raise StoppedError
        self._report.resumed(self)
        self._report.waited(self._stream, "api", seconds)

    def _outlook(self, seconds: float, why: str = "") -> str:
        most = self._retry.attempts + self._waits
        return f"waiting {seconds:.1f} s{why}, try {self.tries} of {most}"

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began - self._budget_s

    def _given_up(self, last: AgainError) -> ApiError:
        shown = f": {last.message}" if last.message else ""
        tries = "1 try" if self.tries == 2 else f"{self.tries - 1} tries"
        return ApiError(
            f"{last.cause}, given up after {tries} in {self._elapsed_s():.1f} s{shown}",
            do="run again later, it goes on where this run stopped",
            status=last.status,
            request_id=last.request_id,
        )


def _again(state: tenacity.RetryCallState) -> AgainError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, AgainError)
    return error
