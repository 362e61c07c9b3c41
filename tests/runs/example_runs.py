"""Run files to try things with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tap_saas.runs.run_file import Budget, Rate, RunFile, StreamRun
from tap_saas.runs.series import Series

BEGAN = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def run_of(run_id: str = "aaaa00000001", **given: Any) -> RunFile:
    """A run of ten seconds: two streams, 4 of 100 records rejected."""
    orders = StreamRun(
        run_id=run_id, stream="orders", started_at=BEGAN, duration_s=10.0, rows_ingested=96,
        rows_rejected=4, error_rate=0.04, errors={"bad_date": 4, "http_429": 1}, requests=12,
        retries=1, waited_budget_s=1.5, waited_api_s=3.0, watermark_from="2025-02-28T00:00:00Z",
        watermark_to="2025-03-01T11:00:00Z", last_cursor="abc", exit=0, rejects={"bad_date": 4},
        lag_s=3610.0,
    )  # fmt: skip
    events = StreamRun(run_id=run_id, stream="events", started_at=BEGAN, requests=1)
    facts: dict[str, Any] = {
        "run_id": run_id, "connector": "acme", "started_at": BEGAN, "written_at": BEGAN,
        "duration_s": 10.0, "exit": 0, "rows_ingested": 96, "rows_rejected": 4,
        "error_rate": 0.04, "requests": 13, "retries": 1,
        "waited_s": {"budget": 1.5, "api": 3.0, "target": 0.0},
        "rejects": {"bad_date": 4}, "statuses": {"200": 12, "429": 1},
        "budgets": [Budget(
            name="all", limits=[Rate(requests=10, per_s=1.0, allowed=8.0)], requests=13,
            series=[0, 5, 13],
        )],
        "streams": [orders, events],
        "series": Series(
            t=[0.0, 4.0, 10.0], records=[0, 40, 96], rejects=[0, 0, 4], requests=[0, 5, 13],
            waited_budget_s=[0.0, 1.0, 1.5], waited_api_s=[0.0, 0.0, 3.0],
            waited_target_s=[0.0, 0.0, 0.0],
        ),
    }  # fmt: skip
    return RunFile(**(facts | given))
