"""Bad records: which are the same, what is masked, when there are too many."""

from __future__ import annotations

from typing import Any

import pytest

from tap_saas.connector.model import OBSERVED_COLUMN
from tap_saas.errors import RejectRatioError
from tap_saas.sync.rejects import JUDGED_AFTER, SCHEMA, Ledger, Reject

AT = "2025-01-01T00:00:00Z"


def row(reject: Reject, context: dict[str, Any] | None = None, run: str = "r") -> dict[str, Any]:
    ledger = Ledger("orders", run, lambda text: text.replace("secret", "***"), 0.05)
    (found,) = ledger.rows([reject], AT, context or {})
    assert found.keys() == SCHEMA["properties"].keys()
    return found


def test_the_same_bad_record_is_the_same_row_in_every_run() -> None:
    reject = Reject("bad_type", "no", {"id": 1}, "/a", [1])
    seen = {OBSERVED_COLUMN: AT, "account": "a"}
    later = {OBSERVED_COLUMN: "2025-02-01T00:00:00Z", "account": "a"}
    assert row(reject, seen)["id"] == row(reject, later, run="s")["id"]
    assert row(reject, seen)["id"] != row(reject, {**seen, "account": "b"})["id"]
    assert row(reject)["id"] != row(Reject("bad_date", "no", {"id": 1}, "/a", [1]))["id"]


@pytest.mark.parametrize(
    ("payload", "masked"),
    [
        ({"id": 1}, False),
        ({"note": "a secret"}, True),
        ({"id": "a\x00"}, True),
        ({"id": ["\ud800"]}, True),
        ("\x00", True),
    ],
)
def test_a_payload_that_is_not_what_came_says_so(payload: Any, masked: bool) -> None:
    found = row(Reject("bad_key", "no", payload))
    assert found["masked"] is masked
    assert "secret" not in found["payload"]


def test_too_many_are_judged_when_there_are_enough_records_or_at_the_end() -> None:
    ledger = Ledger("orders", "run", str, 0.05)
    ledger.records = 20
    ledger.rows([Reject("bad_type", "no", {})], AT, {})
    assert not ledger.is_over
    ledger.rows([Reject("bad_date", "no", {}), Reject("bad_date", "no", {})], AT, {})
    assert ledger.is_over
    ledger.judge()
    with pytest.raises(RejectRatioError, match=r"3 of 20 records .* most: bad_date 2"):
        ledger.judge(at_end=True)
    ledger.records = JUDGED_AFTER
    assert not ledger.is_over
    ledger.judge(at_end=True)
    ledger.rows([Reject("bad_date", "no", {})] * 50, AT, {})
    with pytest.raises(RejectRatioError, match=r"53 of 1,000 records rejected \(limit 5 %\)"):
        ledger.judge()
