"""Whole runs of the tap: the run file equals what the run wrote, after any end; `saasctl runs`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from harness import BIN, Pipeline
from sandbox_api import Answer, Sandbox, connector, sandbox, serve
from singer_output import SECRETS, Done

from tap_saas.cli import cli
from tap_saas.errors import ConfigError
from tap_saas.runs.run_file import RunFile, RunFiles

BUDGETS = "budgets: {all: {limits: [{requests: 50, per: 1s}, {concurrent: 4}]}}\n"
SCHEMA = """\
    schema:
      type: object
      required: [id]
      properties:
        id: {type: integer}
        born: {type: string, format: date}
        updated_at: {type: string, format: date-time}
"""
STREAMS = f"""\
  customers:
    path: /customers
    incremental: {{key: updated_at, start: {{send: param:updated_after}}}}
{SCHEMA}  orders:
    path: /orders
{SCHEMA}"""


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with sandbox(customers=40, orders=40, events=0) as box:
        yield box


def runs_of(shop: Pipeline) -> list[RunFile]:
    return list(RunFiles(shop.folder / "home"))


def rows(done: Done) -> list[dict[str, Any]]:
    """The rows of `_runs` that a run wrote, without the columns that the target adds."""
    return [
        {k: v for k, v in row.items() if not k.startswith("_")} for row in done.records("_runs")
    ]


def figures(run: RunFile) -> list[dict[str, Any]]:
    """The streams of a run file, as rows of `_runs`."""
    import msgspec

    own = {"rejects", "lag_s"}
    return [
        {k: v for k, v in row.items() if k not in own} for row in msgspec.to_builtins(run.streams)
    ]


def test_all_figures_are_those_of_the_rows_of_runs(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    box.fault("/orders", "503", times=1)
    shop = Pipeline(tmp_path, box.url, connector(STREAMS, more=BUDGETS))
    done = shop.tap()
    assert done.code == 0, done.told
    (run,) = runs_of(shop)
    assert figures(run) == rows(done)
    assert (run.exit, run.outcome, run.connector) == (0, "ok", "shop")
    for total in ("rows_ingested", "rows_rejected", "requests", "retries"):
        assert getattr(run, total) == sum(row[total] for row in rows(done))
    assert (run.rows_ingested, run.retries) == (80, 1)
    assert run.statuses == {"200": run.requests - 1, "503": 1}
    assert run.budgets[0].requests == run.requests
    assert (run.budgets[0].limits[0].requests, run.budgets[0].concurrent) == (50, 4)
    assert run.series.records[-1] == 80
    assert run.series.requests[-1] == run.budgets[0].series[-1] == run.requests
    customers = next(row for row in run.streams if row.stream == "customers")
    assert customers.watermark_to is not None
    assert customers.lag_s is not None
    last = [line for line in done.told.splitlines() if "rows_ingested=" in line][-1]
    assert f"run={run.run_id} rows_ingested=80 rows_rejected=0 error_rate=0.0 requests=" in last
    assert "duration_s=" in last


def test_rejects_and_a_failure_are_told(tmp_path: Path) -> None:
    def answer(path: str) -> Answer:
        if path.startswith("/orders"):
            return Answer(b'{"error": "no token sandbox-key"}', status=403)
        data = [{"id": i, "born": "soon" if i % 4 == 0 else "2000-01-01"} for i in range(20)]
        data[1] = {"born": "2000-01-01"}
        body = {"data": data, "next_cursor": None, "has_more": False}
        return Answer(json.dumps(body).encode())

    with serve(answer) as url:
        streams = STREAMS.replace(
            "    path: /customers\n    incremental",
            "    path: /c\n    max_rejects: 50%\n    incremental",
        )
        shop = Pipeline(tmp_path, url, connector(streams, more=BUDGETS))
        done = shop.tap()
    (run,) = runs_of(shop)
    assert (done.code, run.exit, run.outcome) == (4, 4, "failed"), done.told
    assert run.rejects == {"bad_date": 5, "missing_field": 1}
    assert run.error_rate == 6 / 20
    assert figures(run) == rows(done)
    assert {row.stream: row.exit for row in run.streams} == {"customers": 0, "orders": 4}
    assert len(run.failures) == 1
    assert run.failures[0].startswith("orders: ")
    assert "rejects=bad_date:5,missing_field:1 " in done.told
    text = (shop.folder / "home" / "runs" / f"{run.run_id}.json").read_text()
    assert not any(secret in text + done.told for secret in SECRETS)


def test_a_killed_run_leaves_what_it_was_doing(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    box.fault("/orders", "slow", times=None, delay_ms=400)
    shop = Pipeline(tmp_path, box.url, connector(STREAMS, size=4, more=BUDGETS))
    tap = shop.start_tap()
    tap.stdout.readline()
    reader = threading.Thread(target=tap.stdout.read)
    reader.start()
    deadline = time.monotonic() + 30
    while not (runs_of(shop) and runs_of(shop)[0].requests) and time.monotonic() < deadline:
        time.sleep(0.05)
    tap.send(signal.SIGKILL)
    reader.join()
    assert (tap.wait(), "Traceback" in tap.told()) == (137, False)
    (killed,) = runs_of(shop)
    assert (killed.exit, killed.outcome) == (None, "killed or running")
    assert killed.requests
    box.calm()
    assert shop.tap().code == 0
    assert [run.outcome for run in runs_of(shop)] == ["ok", "killed or running"]
    shown = CliRunner().invoke(cli, ["runs", "--home", str(shop.folder / "home")]).output
    assert "killed or running" in shown
    assert killed.run_id in shown


def test_a_run_that_is_stopped_says_so(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    box.fault("/orders", "slow", times=None, delay_ms=100)
    shop = Pipeline(tmp_path, box.url, connector(STREAMS, size=4, more=BUDGETS))
    tap = shop.start_tap()
    while b'"stream":"orders"' not in tap.stdout.readline():
        pass
    tap.send(signal.SIGTERM)
    tap.stdout.read()
    assert tap.wait() == 143
    assert f"run={runs_of(shop)[0].run_id} rows_ingested=" in tap.told()
    (run,) = runs_of(shop)
    assert (run.exit, run.outcome, run.failures) == (143, "stopped", [])
    assert 0 < run.rows_ingested < 80
    assert run.streams[-1].incomplete == "stopped by a signal"


def test_a_planned_end_is_incomplete(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    limits = {"max_requests": 2, "partial_exit": 12, "progress": False}
    shop = Pipeline(tmp_path, box.url, connector(STREAMS, size=4), config=limits)
    assert shop.tap().code == 12
    (run,) = runs_of(shop)
    assert (run.exit, run.outcome, run.failures) == (12, "incomplete", [])
    assert run.incomplete is not None
    assert run.incomplete.startswith("max_requests is reached")


def test_nothing_but_a_run_leaves_a_run_file(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    shop = Pipeline(tmp_path, box.url, connector(STREAMS))
    assert shop.tap("--discover").code == 0
    assert shop.tap("--test").code == 0
    assert runs_of(shop) == []


def in_a_terminal(command: str, environment: dict[str, str]) -> tuple[int, str]:
    """A shell line on a terminal of its own; its exit code and all that the terminal got."""
    own, its = pty.openpty()
    child = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", f"stty rows 24 cols 100; {command}"],
        stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    out = bytearray()
    try:
        while piece := os.read(own, 1 << 16):
            out += piece
    except OSError:
        pass  # Linux: nobody has the other side any more
    finally:
        os.close(own)
    return child.wait(timeout=30), out.decode()


def test_progress_shares_the_terminal_with_the_target(tmp_path: Path, box: Sandbox) -> None:
    box.calm()
    box.fault("/orders", "slow", times=None, delay_ms=120)
    shop = Pipeline(tmp_path, box.url, connector(STREAMS, size=4, more=BUDGETS))
    target = 'while read -r line; do echo "$line" >> out; echo told >&2; done'
    line = f"cd {tmp_path} && {BIN}/tap-saas --config {shop.config} | ({target})"
    environment = {**shop.environment, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    code, text = in_a_terminal(line, environment)
    assert code == 0, text
    drawn = re.findall(r"\x1b\[24;1H\x1b\[2K([^\x1b]*(?:\x1b\[[\d;]*m[^\x1b]*)*)", text)
    assert any("orders" in row and "records" in row for row in drawn)
    assert text.rindex("\x1b[r") > text.rindex("\x1b[1;22r")
    out = Done(0, (tmp_path / "out").read_bytes(), text)
    out.assert_singer()
    assert text.count("told\r\n") == len(out.messages)
    quiet_code, quiet = in_a_terminal(line, {**environment, "NO_COLOR": "1"})
    assert (quiet_code, "\x1b[1;22r" in quiet) == (0, False)


@pytest.fixture
def home(tmp_path: Path, ten_seconds: RunFile) -> Path:
    RunFiles(tmp_path).write(ten_seconds)
    return tmp_path


def test_saasctl_runs_shows_the_last_runs(home: Path) -> None:
    def ask(*words: str) -> str:
        done = CliRunner().invoke(cli, ["runs", "--home", str(home), *words])
        assert done.exit_code == 0, done.output
        return done.output

    table = ask().splitlines()
    assert table[0].split()[:4] == ["run", "connector", "started", "took"]
    assert table[1].split()[:2] == ["aaaa00000001", "acme"]
    assert len(ask("-n", "0").splitlines()) == 1
    (known,) = json.loads(ask("--json"))
    assert (known["rows_ingested"], "series" in known) == (96, False)
    assert json.loads(ask("show", "aaaa", "--json"))["series"]["records"] == [0, 40, 96]
    shown = ask("show")
    for part in ("budget 1.5 s, api 3 s", "bad_date 4", "200 12, 429 1", "all: 13 requests; 10 in"):
        assert part in shown, part
    ask("report", "-o", str(home / "report.html"))
    assert (home / "report.html").read_text() == ask("report", "aaaa", "-o", "-")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "zzzz"], "there is no run zzzz"),
        (["report", "-o", "no/such/folder.html"], "no/such/folder.html: it cannot be written"),
    ],
)
def test_a_wrong_call_of_runs_is_one_line(words: list[str], says: str, home: Path) -> None:
    done = CliRunner().invoke(cli, ["runs", "--home", str(home), *words])
    assert isinstance(done.exception, ConfigError)
    assert says in str(done.exception)
