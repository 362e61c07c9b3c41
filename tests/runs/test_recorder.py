"""The recorder beside a run: the last word of the file, its bounds, and no secret in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.errors import ApiError, TargetError
from tap_saas.redact import Redactor
from tap_saas.report import Report
from tap_saas.runs.recorder import MOST_FAILURES, Facts, Recorder
from tap_saas.runs.run_file import Budget, RunFile, RunFiles

SECRET = "s3cr3t-token"


def recorder(
    report: Report,
    home: Path,
    *,
    failures: Sequence[BaseException] = (),
    planned_end: str | None = None,
    write_every_s: float = 60.0,
) -> Recorder:
    facts = Facts(
        connector="acme",
        started_at=datetime.now(UTC),
        budgets=[Budget(name="all")],
        failures=lambda: failures,
        planned_end=lambda: planned_end,
    )
    return Recorder(
        report, RunFiles(home), facts, Redactor([SECRET]), write_every_s=write_every_s, tick_s=0.01
    )


def kept(home: Path) -> RunFile:
    return RunFiles(home).find()


def test_a_run_has_a_file_from_its_first_moment(tmp_path: Path) -> None:
    with recorder(Report("run1"), tmp_path):
        assert (kept(tmp_path).run_id, kept(tmp_path).exit) == ("run1", None)
    assert kept(tmp_path).exit == 0


def test_the_file_follows_the_run(tmp_path: Path) -> None:
    report = Report("run1")
    with recorder(report, tmp_path, write_every_s=0.02):
        report.ingested("orders", 7)
        deadline = monotonic() + 5
        while kept(tmp_path).rows_ingested != 7 and monotonic() < deadline:
            sleep(0.01)
        assert (kept(tmp_path).rows_ingested, kept(tmp_path).exit) == (7, None)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ApiError("403 Forbidden", stream="orders"), 5, "orders: 403 Forbidden"),
        (TargetError("the target is gone"), 9, "the target is gone"),
        (SystemExit(143), 143, None),
        (SystemExit("text"), 1, None),
        (KeyboardInterrupt(), 130, None),
        (KeyError("id"), 1, "KeyError: 'id'"),
    ],
)
def test_how_it_ended_is_the_last_word(
    error: BaseException, code: int, line: str | None, tmp_path: Path
) -> None:
    with pytest.raises(type(error)), recorder(Report("run1"), tmp_path):
        raise error
    run = kept(tmp_path)
    assert (run.exit, run.failures) == (code, [line] if line else [])


def test_a_failure_of_a_stream_is_told_once(tmp_path: Path) -> None:
    error = ApiError("404 Not Found", stream="orders")
    with pytest.raises(ApiError), recorder(Report("run1"), tmp_path, failures=[error]):
        raise error
    assert kept(tmp_path).failures == ["orders: 404 Not Found"]


def test_no_secret_reaches_the_file(tmp_path: Path) -> None:
    redactor = Redactor([SECRET])
    report = Report("run1", redactor)
    report.requested(f"orders-{SECRET}", status=200)
    report.rejected("orders", {f"bad {SECRET}": 1})
    report.failed("orders", SECRET)
    report.moved("orders", watermark_to=SECRET, last_cursor=f"https://a.example/?key={SECRET}")
    report.spent([(f"budget {SECRET}", "b")])
    error = ApiError(f"401 for {SECRET}", where=SECRET)
    made = recorder(report, tmp_path, failures=[error], planned_end=f"spent: {SECRET}")
    with pytest.raises(KeyError), made:
        raise KeyError(SECRET)
    text = (tmp_path / "runs" / "run1.json").read_text()
    assert SECRET not in text
    assert text.count("***") >= 7


def test_what_an_api_says_cannot_steer_a_terminal(tmp_path: Path) -> None:
    report = Report("run1")
    report.moved("orders", last_cursor="a\x1b[2Jb\nc")
    with recorder(report, tmp_path):
        pass
    assert kept(tmp_path).streams[0].last_cursor == "a [2Jb c"


def test_a_file_is_bounded_whatever_the_run_does(tmp_path: Path) -> None:
    now = 0.0
    report = Report("run1", timer=lambda: now)
    failures = [ApiError("x" * 100_000) for _ in range(1_000)]
    made = recorder(report, tmp_path, failures=failures)
    for tick in range(5_000):
        now = tick * 0.5
        for stream in ("orders", "customers", "events"):
            report.ingested(stream, 1_000_000)
            report.waited(stream, "budget", 0.123456789)
            report.moved(stream, last_cursor="c" * 100_000)
        report.spent([("all", f"all:{tick}")])
        made._track.add(report.snapshot())
    with made:
        pass
    assert len(kept(tmp_path).failures) == MOST_FAILURES
    assert (tmp_path / "runs" / "run1.json").stat().st_size < 60_000


@given(st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_lag_is_the_age_of_the_watermark(age: timedelta) -> None:
    from tap_saas.runs.recorder import _age_s

    now = datetime(2025, 3, 1, tzinfo=UTC)
    assert _age_s((now - age).isoformat(), now) == pytest.approx(age.total_seconds(), abs=0.001)


@pytest.mark.parametrize("watermark", [None, "", "4711", "20250301", "2025-03-01", "abc"])
def test_a_watermark_that_is_no_instant_has_no_lag(watermark: str | None) -> None:
    from tap_saas.runs.recorder import _age_s

    assert _age_s(watermark, datetime.now(UTC)) is None


def test_a_file_that_cannot_be_kept_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "runs").write_text("in the way")
    report = Report("run1")
    with caplog.at_level(logging.WARNING), recorder(report, tmp_path, write_every_s=0.01):
        report.ingested("orders", 1)
        sleep(0.1)
    assert len(caplog.records) == 1
    assert "the run file cannot be kept" in caplog.text
