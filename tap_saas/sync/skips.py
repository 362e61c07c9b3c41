"""Partitions that are left out: told, counted, and a failure where they are too many."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator

from tap_saas.client.pager import SkipPartition
from tap_saas.connector.responses import GONE
from tap_saas.errors import ApiError
from tap_saas.sync.feeds import Fed

log = logging.getLogger(__name__)
IN_A_ROW = 3


class Skips:
    """The skips and failures of one pass over a stream's partitions. Thread-safe.

    A partition that fails does not stop the others, unless several fail and none succeeds between.
    Those that an earlier pass left out say nothing of the others: where several of them fail again,
    only the rest of them should wait for a later pass (`are_left_alone`).
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._max: float | None = None
        self._asked = self.skipped = 0
        self._failures: list[ApiError] = []
        self._in_a_row = {False: 0, True: 0}  # of those that were left out before, and the others
        self.whole_stream = False

    def ask(self) -> None:
        """Count a partition that is asked for."""
        with self._lock:
            self._asked += 1

    def unless(
        self,
        partition: str,
        pages: Generator[Fed],
        left_out: Callable[[bool], None] = lambda has_failed: None,
        *,
        is_again: bool = False,
    ) -> Generator[Fed]:
        """The pages of a partition; a skip and a failure are noted.

        `left_out` is told of a partition that has not been read, and whether it has failed.
        `is_again`: an earlier pass has left it out.

        Raises:
            ApiError: too many partitions in a row have failed.
        """
        self.ask()
        try:
            yield from pages
        except SkipPartition as skip:
            self.note(partition, skip)
            if skip.verdict.rule is not GONE:
                left_out(False)
        except ApiError as error:
            left_out(True)
            self._fail(error, is_again)
        else:
            self._in_a_row[is_again] = 0

    def _fail(self, error: ApiError, is_again: bool) -> None:
        with self._lock:
            self._failures.append(error)
            self._in_a_row[is_again] += 1
            if self._in_a_row[False] >= IN_A_ROW:
                raise self._failures[0]
        log.error("%s; the other partitions go on", error)

    def note(self, partition: str | None, skip: SkipPartition) -> None:
        """Count and tell a skip; a rule with `scope: stream` means that no partition follows."""
        rule = skip.verdict.rule
        with self._lock:
            self.skipped += 1
            if rule is not None and rule.max is not None:
                self._max = float(rule.max)
        if rule is not None and rule.scope == "stream":
            self.whole_stream = True
            log.warning("%s: the stream is skipped: %s", self._stream, skip)
        else:
            log.warning("%s: partition %s is skipped: %s", self._stream, partition, skip)

    @property
    def are_left_alone(self) -> bool:
        """True where several that were left out before have failed again, one after another."""
        return self._in_a_row[True] >= IN_A_ROW

    def judge(self) -> None:
        """Raise where a partition failed, everything was skipped, or more than a rule's `max`.

        Raises:
            ApiError: as `judge_failures` and `judge_skips`.
        """
        self.judge_failures()
        self.judge_skips()

    def judge_failures(self) -> None:
        """Raise the first failure of a partition.

        Raises:
            ApiError: the API answers wrongly, or not at all.
        """
        if self._failures:
            raise self._failures[0]

    def judge_skips(self) -> None:
        """Raise where everything was skipped, or more than a rule's `max`.

        Raises:
            ApiError: it is the connector or the credential that is wrong.
        """
        if self.whole_stream or not self.skipped:
            return
        share = self.skipped / self._asked
        if self.skipped == self._asked or (self._max is not None and share > self._max):
            limit = "" if self._max is None else f" (limit {self._max * 100:g} %)"
            raise ApiError(
                f"{self.skipped:,} of {self._asked:,} partitions were skipped{limit}",
                stream=self._stream,
                do="check the path and what the credential may read",
            )


def too_many_left_out(left: int, most: int, stream: str) -> ApiError:
    """The error for more left out than a bookmark keeps."""
    return ApiError(
        f"{left:,} partitions were left out (limit {most:,})",
        stream=stream,
        do="see why in the lines above; nothing has moved",
    )
