"""Bad records: kept with their reason in the stream `_rejects`, counted by error type."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from tap_saas.connector.model import OBSERVED_COLUMN
from tap_saas.errors import RejectRatioError
from tap_saas.redact import masked_value
from tap_saas.sync.convert import as_text, clean, clean_text, is_clean

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
        "context": {"type": ["object", "null"]},
        "run_id": _TEXT,
        "rejected_at": {"type": ["string", "null"], "format": "date-time"},
        "replayed_at": {"type": ["string", "null"], "format": "date-time"},
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

    `mask` hides secrets in a text; `max_rejects` is a share of the records (0.05 for 5 %);
    `on_invalid: fail` allows none.
    """

    def __init__(
        self,
        stream: str,
        run_id: str,
        mask: Callable[[str], str],
        max_rejects: float | None,
        on_invalid: Literal["reject", "fail"] = "reject",
    ) -> None:
        self._stream, self._run_id, self._mask = stream, run_id, mask
        self._max = max_rejects
        self._first: Reject | None = None
        self._allows_any = on_invalid == "reject"
        self.errors: Counter[str] = Counter()
        self.records = 0

    def rows(
        self, rejects: list[Reject], at: str, context: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """The `_rejects` records; the same bad record gives the same key in every run.

        `context` are the partition's values, without which nobody can say whose record it was.
        """
        if rejects and self._first is None:
            self._first = rejects[0]
        self.errors.update(reject.error for reject in rejects)
        return [self._row(reject, at, dict(context)) for reject in rejects]

    def _row(self, reject: Reject, at: str, context: dict[str, Any]) -> dict[str, Any]:
        payload = as_text(reject.payload)
        masked = self._mask(payload)
        key = None if reject.record_key is None else as_text(reject.record_key)
        parts = [self._stream, key or "", reject.error, payload]
        lasting = {name: value for name, value in context.items() if name != OBSERVED_COLUMN}
        if lasting:
            parts.append(as_text(lasting))
        identity = "\x00".join(parts)
        return {
            "id": hashlib.sha256(identity.encode()).hexdigest(),
            "stream": self._stream,
            "record_key": None if key is None else self._mask(key),
            "error": reject.error,
            "pointer": clean_text(reject.pointer),
            "message": self._mask(clean_text(reject.message)),
            "payload": masked,
            "masked": masked != payload or not is_clean(reject.payload),
            "context": masked_value(clean(context), self._mask) or None,
            "run_id": self._run_id,
            "rejected_at": at,
            "replayed_at": None,
        }

    @property
    def is_over(self) -> bool:
        """True while more records are bad than may be: no STATE may speak of them."""
        bad = self.errors.total()
        if not self._allows_any:
            return bad > 0
        return self._max is not None and bad > self._max * self.records

    def judge(self, *, at_end: bool = False) -> None:
        """Say that the run must fail: after `JUDGED_AFTER` records, and at the end.

        Raises:
            RejectRatioError: more records were bad than may be.
        """
        if not self.is_over:
            return
        do = f"see table {STREAM}, run {self._run_id}; the next run reads the same again"
        if not self._allows_any and self._first is not None:
            where = self._first.pointer or "the record"
            what = f"a record was refused: {where}: {self._mask(self._first.message)}"
            raise RejectRatioError(what, do=do, stream=self._stream)
        if self.records >= JUDGED_AFTER or at_end:
            limit = (self._max or 0.0) * 100
            raise RejectRatioError(
                f"{self.errors.total():,} of {self.records:,} records rejected "
                f"(limit {limit:g} %), most: {counted(self.errors.most_common(1))}",
                do=do,
                stream=self._stream,
            )


def counted(errors: Iterable[tuple[str, int]]) -> str:
    """Counts by error type in words: `missing_field 4, bad_date 3`."""
    return ", ".join(f"{error} {count:,}" for error, count in errors)
