"""`saasctl queue`: what people see of a queue, and may do to it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from arrivals import NOON, SOURCE, Opener, arrival, arrivals, ids, place_of
from click.testing import CliRunner

from tap_saas.cli import cli
from tap_saas.errors import ConfigError, TapSaasError
from tap_saas.queues import open_queue
from tap_saas.queues.base import Queue


def saasctl(*arguments: str) -> str:
    """What the command prints; its error is raised."""
    done = CliRunner().invoke(cli, ["queue", *arguments], catch_exceptions=False)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def printed(*arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in saasctl("peek", *arguments).splitlines()]


@pytest.fixture
def url(queue_url: str, opener: Opener, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue with 20 events, made by a receiver that still runs, and known by the variable."""
    monkeypatch.setenv("TAP_SAAS_QUEUE", queue_url)
    queue = opener(write=True)
    queue.append(arrivals(1, 20))
    return queue_url


def test_status_shows_each_source(url: str, opener: Opener) -> None:
    reader = opener()
    reader.acknowledge(SOURCE, "main", place_of(reader, "5"), now=NOON)
    reader.count_refused({(SOURCE, "forged"): 7}, NOON)
    shown = saasctl("status")
    for text in (reader.epoch, "acme/main", "20", "1..20", "main 5", "2026-01-05 12:00:00Z", "7"):
        assert text in shown
    known = json.loads(saasctl("status", "--json"))
    assert known["sources"][0]["acknowledged"] == {"main": 5}
    assert known["refused"][0]["reason"] == "forged"


def test_peek_prints_a_page_or_the_newest(url: str) -> None:
    assert [each["event_id"] for each in printed(SOURCE, "--from", "4", "--limit", "2")] == [
        "4",
        "5",
    ]
    assert [each["event_id"] for each in printed(SOURCE, "--last", "2")] == ["19", "20"]
    assert "no events of acme/none from offset 1 on" in saasctl("peek", "acme/none")


def test_peek_masks_what_sounds_secret_and_cuts_bodies(queue: Queue, queue_url: str) -> None:
    body = {"id": 1, "api_key": "s3cr3t-1", "nested": [{"password": "s3cr3t-2", "note": "kept"}]}
    queue.append(
        [
            arrival(
                "1",
                headers={"authorization": "Bearer s3cr3t-3", "x-event": "push",
                         "x-hub-signature-256": "s3cr3t-4"},
                query="token=s3cr3t-5&page=2",
                body=json.dumps(body).encode(),
            ),
            arrival("2", body=b"\xff" + b"plain " * 100),
        ]
    )  # fmt: skip
    shown = saasctl("peek", SOURCE, "--queue", queue_url, "--body-bytes", "60")
    assert "s3cr3t" not in shown
    first, second = (json.loads(line) for line in shown.splitlines())
    assert first["request"] == "POST /?token=***&page=2"
    assert first["headers"]["x-event"] == "push"
    assert "cut" in first
    assert first["bytes"] == len(json.dumps(body))
    assert second["cut"]
    assert second["body"].startswith("\\xffplain plain")
    assert len(second["body"]) == 60
    whole = printed(SOURCE, "--queue", queue_url, "--limit", "1")[0]["body"]
    assert whole == {"id": 1, "api_key": "***", "nested": [{"password": "***", "note": "kept"}]}


def test_replay_lets_consumers_read_again(url: str, opener: Opener) -> None:
    assert saasctl("replay", SOURCE, "--from", "3", "--to", "4") == (
        "2 events of acme/main will be read again\n"
    )
    assert ids(opener(), after=20) == ["3", "4"]
    assert saasctl("replay", SOURCE, "--all").startswith("22 events")
    assert saasctl("replay", SOURCE, "--since", "2026-01-06").startswith("0 events")
    for arguments in ([], ["--all", "--from", "2"]):
        with pytest.raises(ConfigError, match="which events is not said"):
            saasctl("replay", SOURCE, *arguments)


def test_purge_never_deletes_what_is_not_acknowledged_unless_forced(
    url: str, opener: Opener
) -> None:
    reader = opener()
    assert saasctl("purge", "--keep", "0s", "--yes") == "0 events are deleted\n"
    reader.acknowledge(SOURCE, "main", place_of(reader, "5"))
    assert saasctl("purge", "--yes") == "0 events are deleted\n", "kept for a day"
    assert saasctl("purge", "--keep", "0s", "--yes") == "5 events are deleted\n"
    forced = ("purge", SOURCE, "--force", "--to", "8")
    with pytest.raises(ConfigError, match="nobody is there to ask; pass --yes"):
        saasctl(*forced)
    assert len(ids(reader)) == 15
    assert saasctl(*forced, "--yes") == "3 events are deleted\n"
    assert ids(reader)[0] == "9"


@pytest.mark.parametrize(
    "arguments",
    [["--force"], ["--force", SOURCE], ["--to", "3"], [SOURCE], ["--keep", "soon"],
     [SOURCE, "--force", "--to", "9", "--keep", "0s"]],
)  # fmt: skip
def test_purge_refuses_what_is_half_said(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAP_SAAS_QUEUE", str(tmp_path / "queue.db"))
    with closing(open_queue(tmp_path / "queue.db", write=True)) as queue:
        queue.append(arrivals(1, 9))
        with pytest.raises(ConfigError):
            saasctl("purge", "--yes", *arguments)
        assert len(ids(queue)) == 9


def test_the_queue_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAP_SAAS_QUEUE", raising=False)
    monkeypatch.setenv("TAP_SAAS_HOME", str(tmp_path / "home"))
    with pytest.raises(TapSaasError, match=r"home/queue\.db: there is no queue; start"):
        saasctl("status")
    with closing(open_queue(tmp_path / "home" / "queue.db", write=True)) as queue:
        assert queue.epoch in saasctl("status")


@pytest.mark.parametrize("command", ["status", "peek", "replay", "purge"])
def test_help_says_what_a_command_is_for(command: str) -> None:
    shown = saasctl(command, "--help")
    assert "TAP_SAAS_QUEUE" in shown
    assert f"queue {command}" in saasctl("--help")
