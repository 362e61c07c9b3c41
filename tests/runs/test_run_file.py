"""The run file: replaced as a whole, bounded in number, read with care."""

from __future__ import annotations

import logging
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from example_runs import BEGAN, run_of

from tap_saas.errors import ConfigError
from tap_saas.runs.run_file import KEPT, RunFile, RunFiles


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(tmp_path)


def test_what_is_written_is_read(files: RunFiles, tmp_path: Path) -> None:
    files.write(run_of())
    assert list(files) == [run_of()]
    path = tmp_path / "runs" / "aaaa00000001.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(files: RunFiles) -> None:
    big = run_of(failures=["x" * 400_000])
    files.write(big)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            files.write(big)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(list(files) == [big] for _ in range(100))
    finally:
        over.set()
        thread.join()


def test_a_drain_every_few_seconds_leaves_the_reports_of_pulls(files: RunFiles) -> None:
    def write(run_id: str, at: int, **counts: Any) -> None:
        files.write(run_of(run_id, started_at=BEGAN + timedelta(seconds=at), **counts))
        os.utime(files.folder / f"{run_id}.json", (1_000_000 + at, 1_000_000 + at))

    nothing = {"requests": 0, "rows_ingested": 0, "rows_rejected": 0}
    write("pull", 0)
    write("quiet0", 1, **nothing)
    for i in range(KEPT + 1):
        write(f"drain{i:03}", 2 + i, requests=0)
    write("quiet1", 900, **nothing)
    write("quiet2", 901, **nothing)
    write("failed", 902, **nothing | {"exit": 8})
    files.prune()
    kept = [run.run_id for run in files]
    assert kept[:3] == ["failed", "quiet2", f"drain{KEPT:03}"]
    assert kept[-1] == "pull"
    assert len(kept) == KEPT + 2


def test_only_the_newest_are_kept(files: RunFiles) -> None:
    for i in range(KEPT + 5):
        files.write(run_of(f"{i:012x}", started_at=BEGAN + timedelta(seconds=i)))
        os.utime(files.folder / f"{i:012x}.json", (1_000_000 + i, 1_000_000 + i))
    draft = files.folder / "dead.tmp"
    draft.write_text("half")
    os.utime(draft, (1_000_000, 1_000_000))
    (files.folder / "alive.tmp").write_text("half")
    files.prune()
    assert [run.run_id for run in files] == [f"{i:012x}" for i in range(KEPT + 4, 4, -1)]
    assert [path.name for path in files.folder.glob("*.tmp")] == ["alive.tmp"]


def test_a_file_that_cannot_be_read_is_told_and_left_out(
    files: RunFiles, caplog: pytest.LogCaptureFixture
) -> None:
    files.write(run_of())
    (files.folder / "bad.json").write_text('{"run_id": 3}')
    with caplog.at_level(logging.WARNING):
        assert [run.run_id for run in files] == ["aaaa00000001"]
    assert "bad.json: not a run file" in caplog.text


def test_a_write_that_fails_leaves_the_file_before_it(
    files: RunFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(run_of())

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="No space"):
            files.write(run_of(exit=5))
    assert [path.name for path in files.folder.iterdir()] == ["aaaa00000001.json"]
    assert list(files) == [run_of()]


def test_a_run_is_found_by_how_its_id_begins(files: RunFiles) -> None:
    with pytest.raises(ConfigError, match="there are no runs yet"):
        files.find()
    for i, run_id in enumerate(("abc1", "abd2", "eee3")):
        files.write(run_of(run_id, started_at=BEGAN + timedelta(seconds=i)))
    assert files.find().run_id == "eee3"
    assert files.find("abd").run_id == "abd2"
    with pytest.raises(ConfigError, match="2 runs begin with ab"):
        files.find("ab")
    with pytest.raises(ConfigError, match="there is no run zzz"):
        files.find("zzz")


@pytest.mark.parametrize(
    ("code", "incomplete", "failures", "outcome"),
    [
        (0, None, [], "ok"),
        (None, None, [], "killed or running"),
        (None, None, ["orders: broken"], "killed or running"),
        (5, None, ["orders: broken"], "failed"),
        (1, None, [], "failed"),
        (0, "max_requests is reached (2)", [], "incomplete"),
        (12, "max_requests is reached (2)", [], "incomplete"),
        (5, "max_requests is reached (2)", ["orders: broken"], "failed"),
        (143, None, [], "stopped"),
    ],
)
def test_how_a_run_ended_is_one_word(
    code: int | None, incomplete: str | None, failures: list[str], outcome: str
) -> None:
    assert run_of(exit=code, incomplete=incomplete, failures=failures).outcome == outcome


def test_the_file_is_json_with_the_words_of_runs(files: RunFiles) -> None:
    files.write(run_of())
    known = msgspec.json.decode((files.folder / "aaaa00000001.json").read_bytes())
    assert known.keys() == set(RunFile.__struct_fields__)
    assert {"rows_ingested", "rows_rejected", "error_rate", "duration_s"} <= known.keys()
    assert known["streams"][0]["watermark_to"] == "2025-03-01T11:00:00Z"
