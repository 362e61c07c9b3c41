"""The README holds: its connector and commands work, its demo prints what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pages import ROOT, blocks
from ruamel.yaml import YAML

from tap_saas import config
from tap_saas.sandbox import process
from target_config.database import libpq_url, target_url
from target_config.settings import meltano_config

README = (ROOT / "README.md").read_text()


def readme(kind: str) -> list[str]:
    """The README's blocks of a language."""
    return [block.body for block in blocks(ROOT / "README.md", kind)]


def test_the_first_screen_has_a_connector_of_twelve_lines_and_two_commands() -> None:
    first = "\n".join(README.splitlines()[:40])
    assert len(readme("yaml")[0].splitlines()) <= 12
    assert "$ make demo\n$ make test" in first
    assert len(README.splitlines()) < 150


@pytest.fixture(scope="module")
def sandbox() -> Iterator[process.Running]:
    running = process.start(customers=10, orders=10, events=250)
    yield running
    process.stop(running.pid)


def test_the_commands_of_the_readme_run(
    sandbox: process.Running, database: str, tmp_path: Path
) -> None:
    """The README's own connector, pointed at the sandbox, by the README's own commands."""
    connector = readme("yaml")[0].replace("https://api.acme.example", sandbox.url)
    (tmp_path / "acme.yaml").write_text(connector)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ACME_KEY": "sandbox-key",
        "TARGET_POSTGRES_SQLALCHEMY_URL": target_url(database),
    }
    commands = readme("sh")
    assert len(commands) == 3
    for _ in range(2):
        for command in commands:
            done = subprocess.run(
                ["bash", "-e", "-c", command],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    with psycopg.connect(libpq_url(database)) as connection:
        rows = connection.execute("SELECT count(*), count(DISTINCT id) FROM acme.events").fetchone()
        runs = connection.execute("SELECT requests FROM acme._runs ORDER BY started_at").fetchall()
    assert rows == (250, 250)
    assert [run[0] for run in runs] == [3, 1]


def test_meltano_yml_agrees_with_the_settings_that_we_ship() -> None:
    project = YAML(typ="safe").load((ROOT / "meltano.yml").read_text())
    target = project["plugins"]["loaders"][0]
    assert target["config"] == meltano_config()
    assert {s["name"] for s in target["settings"]} >= target["config"].keys()
    tap = project["plugins"]["extractors"][0]
    assert {s["name"] for s in tap["settings"]} == config.SCHEMA["properties"].keys()
    assert tap["use_cached_catalog"] is False
    assert "version" not in project


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """Real Meltano, twice; both sides are the same, and the README tells no other story."""
    done = subprocess.run(
        [sys.executable, "-c", "from tap_saas.cli import main; main()", "demo", "run"],
        cwd=ROOT, env={**os.environ, "TAP_SAAS_HOME": str(tmp_path / "home"), "COLUMNS": "120"},
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert _told(done.stdout) == _told(readme("text")[0])
    assert "API and PostgreSQL are the same" in done.stdout


_VARIES = {
    r"\d{4}-\d\d-\d\dT[\d:.]+Z": "INSTANT",
    r"\d+\.\d s": "SECONDS",
    r"killed at page \d+ of 100, resumed at \d+": "killed at page K of 100, resumed at R",
}
"""What another run says otherwise: clocks, and where exactly a kill hits."""


def _told(text: str) -> list[str]:
    """Every line of the demo but Meltano's own (indented by two), without what varies."""
    told = []
    for line in text.splitlines():
        shown = " ".join(line.split())
        for pattern, word in _VARIES.items():
            shown = re.sub(pattern, word, shown)
        if shown and not line.startswith("  "):
            told.append(shown)
    return told


def test_the_comparison_of_the_demo_hides_no_figure() -> None:
    """Counts, error types, columns, requests: each is compared, only clocks and kills are not."""
    shown = _told(readme("text")[0])
    assert sum("SECONDS" in line for line in shown) == 4
    assert sum("page K of 100, resumed at R, exact: 5,000 of 5,000 rows" in x for x in shown) == 1
    for figures in (
        "bad_date 5", "3 requests, 46 records", "1,000 sent, 0 refused", "79 duplicates, 1 forged",
        "102 events read again", "436 requests, 6,925 rows", "events 5050",
    ):  # fmt: skip
        assert any(figures in line for line in shown), figures
    checkpoint = [line for line in shown if '{"last_cursor":' in line]
    assert [line.split(":")[0] for line in checkpoint] == [
        "events.log", "customers", "events", "order_lines", "orders",
    ]  # fmt: skip
