"""Partitions that are left out: told, counted, and a failure where they are too many."""

from __future__ import annotations

import logging

from tap_saas.client.pager import SkipPartition
from tap_saas.errors import ApiError

log = logging.getLogger(__name__)


class Skips:
    """The skips of one pass over a stream's partitions."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._max: float | None = None
        self._asked = self._skipped = 0
        self.whole_stream = False

    def ask(self) -> None:
        """Count a partition that is asked for."""
        self._asked += 1

    def note(self, partition: str | None, skip: SkipPartition) -> None:
        """Count and tell a skip; a rule with `scope: stream` means that no partition follows."""
        self._skipped += 1
        rule = skip.verdict.rule
        if rule is not None and rule.max is not None:
            self._max = float(rule.max)
        if rule is not None and rule.scope == "stream":
            self.whole_stream = True
            log.warning("%s: the stream is skipped: %s", self._stream, skip)
        else:
            log.warning("%s: partition %s is skipped: %s", self._stream, partition, skip)

    def judge(self) -> None:
        """Raise where everything was skipped, or more than a rule's `max`.

        Raises:
            ApiError: it is the connector or the credential that is wrong.
        """
        if self.whole_stream or not self._skipped:
            return
        share = self._skipped / self._asked
        if self._skipped == self._asked or (self._max is not None and share > self._max):
            limit = "" if self._max is None else f" (limit {self._max * 100:g} %)"
            raise ApiError(
                f"{self._skipped:,} of {self._asked:,} partitions were skipped{limit}",
                stream=self._stream,
                do="check the path and what the credential may read",
            )
