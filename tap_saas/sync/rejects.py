"""Bad records: kept with their reason in the stream `_rejects`, counted by error type."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from tap_saas.errors import RejectRatioError
from tap_saas.sync.convert import as_text, clean_text

STREAM = "_rejects"
KEY = ("id",)
_TEXT = {"type": ["string", "null"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "stream": _TEXT,
        "record_key": _TEXT,
        "error": _TEXT,
        "pointer": _TEXT,
        "message": _TEXT,
        "payload": _TEXT,
        "masked": {"type": ["boolean", "null"]},
        "run_id": _TEXT,
        "rejected_at": {"type": ["string", "null"], "format": "date-time"},
    },
}
JUDGED_AFTER = 1_000  # records: before that one bad record would be a high share


class Reject(msgspec.Struct, frozen=True):
    """A record that is not emitted. `error` is its type, `pointer` a JSON pointer (RFC 6901) into
    it.
    """

    error: str
    message: str
    payload: Any
    pointer: str = ""
    record_key: Any = None


class Ledger:
    """The rejects of one stream in one run: their records for `_rejects`, and whether they are too
    many.

    `mask` hides secrets in a text; `max_rejects` is a share of the records (0.05 for 5 %).
    """

    def __init__(
        self, stream: str, run_id: str, mask: Callable[[str], str], max_rejects: float | None
    ) -> None:
        self._stream, self._run_id, self._mask = stream, run_id, mask
        self._max = max_rejects
        self.errors: Counter[str] = Counter()
        self.records = 0

    def rows(self, rejects: list[Reject], at: str) -> list[dict[str, Any]]:
        """The `_rejects` records; the same bad record gives the same key in every run."""
        self.errors.update(reject.error for reject in rejects)
        return [self._row(reject, at) for reject in rejects]

    def _row(self, reject: Reject, at: str) -> dict[str, Any]:
        payload = as_text(reject.payload)
        masked = self._mask(payload)
        key = None if reject.record_key is None else as_text(reject.record_key)
        identity = "\x00".join([self._stream, key or "", reject.error, payload])
        return {
            "id": hashlib.sha256(identity.encode()).hexdigest(),
            "stream": self._stream,
            "record_key": key,
            "error": reject.error,
            "pointer": clean_text(reject.pointer),
            "message": self._mask(clean_text(reject.message)),
            "payload": masked,
            "masked": masked != payload,
            "run_id": self._run_id,
            "rejected_at": at,
        }

    def judge(self, *, at_end: bool = False) -> None:
        """Raise where more than `max_rejects` of the records so far were bad."""
        bad = self.errors.total()
        if self._max is None or not bad or (self.records < JUDGED_AFTER and not at_end):
            return
        if bad > self._max * self.records:
            error, count = self.errors.most_common(1)[0]
            raise RejectRatioError(
                f"{bad:,} of {self.records:,} records rejected (limit {self._max * 100:g} %), "
                f"most: {error} {count:,}",
                do=f"see table {STREAM}, run {self._run_id}; the next run reads the same again",
                stream=self._stream,
            )
