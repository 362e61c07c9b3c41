"""`saasctl meltano`, and the jobs of the repository's meltano.yml: the pull and the drain."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from click.testing import CliRunner
from harness import BIN
from meltano_project import OURS
from ruamel.yaml import YAML
from sandbox_api import KEY

from tap_saas.cli import cli
from tap_saas.demo.compare import api_side, database_side
from tap_saas.demo.receiver import Receiver
from tap_saas.demo.services import Services
from tap_saas.sandbox import process
from tap_saas.sandbox.signing import new_secret
from target_config.database import libpq_url

PLAIN = """
name: acme
base_url: https://api.acme.example
streams:
  orders: {path: /orders, primary_key: [id], version: at, pagination: {type: single}}
"""
EVENTS = """
events:
  log:
    path: /log
    pagination: {type: single}
    type: $.type
    time: $.at
    routes: [{stream: orders, record: $.order}]
"""
HOOKS = """
webhooks:
  main:
    signature: {type: none}
    consumers: [lake, other]
    routes: [{stream: orders, record: $.order}]
"""


def printed(connector: str) -> tuple[dict[str, Any], str]:
    """What the command prints, read as YAML and as it is."""
    out = CliRunner().invoke(cli, ["meltano", connector]).output
    return YAML(typ="safe").load(out), out


@pytest.mark.parametrize(
    ("more", "feeds", "loop"),
    [
        ("", [None], None),
        (EVENTS, [["pull"], ["events"]], "--every 1m"),
        (HOOKS, [["pull"], ["webhooks"]], "--every 5s"),
        (EVENTS + HOOKS, [["pull", "events"], ["webhooks"]], "--every 5s"),
    ],
)
def test_what_is_pushed_has_a_job_of_its_own_and_no_feed_is_read_twice(
    more: str, feeds: list[list[str] | None], loop: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(PLAIN + more)
    block, text = printed(str(file))
    taps = block["plugins"]["extractors"]
    assert [tap["config"].get("feeds") for tap in taps] == feeds
    assert (f"saasctl loop {loop} -- meltano run acme-drain" in text) == (loop is not None)
    assert len(block["jobs"]) == len(taps)
    if HOOKS in more:
        assert taps[1]["config"]["consumer"] == "lake"


def test_the_jobs_that_we_ship_are_those_that_the_command_prints() -> None:
    ours = YAML(typ="safe").load(OURS.read_text())
    block, _ = printed("sandbox")
    block["plugins"]["extractors"][0]["config"].pop("settings")
    assert ours["jobs"] == block["jobs"]
    assert ours["schedules"] == block["schedules"]
    for kind in ("extractors", "utilities"):
        assert ours["plugins"][kind][1:] == block["plugins"][kind]


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[Services]:
    """A sandbox, a database, and the repository's own project with its plugins installed."""
    project = YAML(typ="safe").load(OURS.read_text())
    for plugins in project["plugins"].values():
        for plugin in plugins:
            if plugin.pop("pip_url", None):
                plugin["executable"] = str(BIN / plugin["executable"])
    with (tmp_path / "meltano.yml").open("w") as file:
        YAML(typ="safe", pure=True).dump(project, file)
    (tmp_path / "acme.yaml").write_text(PLAIN)
    (tmp_path / "acme.meltano.yml").write_text(printed(str(tmp_path / "acme.yaml"))[1])
    running = process.start(customers=3, orders=5, events=3)
    try:
        yield Services(running.url, running.pid, libpq_url(database), str(tmp_path))
    finally:
        process.stop(running.pid)


def test_the_drain_job_brings_what_the_receiver_got_into_the_tables_of_the_pull(
    world: Services, tmp_path: Path
) -> None:
    """Real Meltano, real receiver, signed events; the state of the pull is not touched."""
    secret = new_secret()
    environment = {**os.environ, **world.environment(), "SANDBOX_WEBHOOK_SECRET": secret}
    receiver = Receiver(tmp_path, "sandbox", environment)
    try:
        _ask(world, "POST", "/webhooks", url=receiver.url, types=["order.*"], secret=secret)
        ids = [str(one["id"]) for one in _ask(world, "GET", "/orders")["data"]]
        _ask(world, "POST", "/_world/change", stream="orders", update=ids, insert=3, delete=2)
        until = time.monotonic() + 30
        while _ask(world, "GET", "/_webhooks?deliveries=0")["waiting"]:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert receiver.counts()["stored"] == 10
    finally:
        receiver.stop()
    assert "saasctl-acme:prepare tap-acme target-postgres" in _meltano(
        environment, tmp_path, "job", "list"
    )
    _meltano(environment, tmp_path, "run", "sandbox-drain")
    with psycopg.connect(world.database_url) as connection:
        for stream in ("orders", "order_lines"):
            assert database_side(connection, "tap_sandbox", stream) == api_side(world.url, stream)
        gone = connection.execute(
            "SELECT count(*) FROM tap_sandbox.orders WHERE _sdc_deleted_at IS NOT NULL"
        ).fetchone()
    assert gone == (2,)
    with closing(sqlite3.connect(tmp_path / "meltano.db")) as connection:
        states = dict(connection.execute("SELECT state_id, completed_state FROM state").fetchall())
    assert list(states) == ["dev:tap-sandbox-drain-to-target-postgres"]
    (state,) = states.values()
    assert json.loads(state)["singer_state"]["bookmarks"]["webhooks.main"]["queue"][1] == 10


def _ask(world: Services, method: str, at: str, **fields: Any) -> Any:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = requests.request(method, world.url + at, json=fields or None, headers=headers)
    answer.raise_for_status()
    return answer.json()


def _meltano(environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [BIN / "meltano", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout
