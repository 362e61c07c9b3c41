"""Scenes claim what is so, and say where it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from click.testing import CliRunner

from tap_saas.cli import cli
from tap_saas.connector.check import check
from tap_saas.demo import checkpoint, scenes, show
from tap_saas.demo.scene import Scene, UntrueError
from tap_saas.demo.scenes import SCENES, budget, changes, kill, named, push, trouble
from tap_saas.demo.stage import CONNECTORS
from tap_saas.errors import ConfigError

TROUBLE = trouble.Trouble(
    waited_s=5.02,
    gap_s=5.01,
    backoff_s=[0.71, 1.33],
    complete=True,
    rejects={"missing_field": 4, "bad_date": 3},
    counted={"bad_date": 3, "missing_field": 4},
    error_rate=0.07,
    rows=93,
    listed=101,
    stale=1,
)
SPENT = budget.Spent({"200": 1_000}, "60 min", "budget all is spent", 4_000, {"last_cursor": "abc"})
KILLED = kill.Killed(asked=40, asked_again=63, rows=5_000, listed=5_000, exact=True)
ROW = (datetime(2025, 3, 2, tzinfo=UTC), "(7,...)")
CHANGES = changes.Changes(
    report={"rows_ingested": 43, "requests": 3},
    at_watermark=2,
    exact=True,
    late={"id": 7, "updated_at": "2025-03-01T10:00:00Z"},
    late_ingested=1,
    before=ROW,
    after=ROW,
    columns={"source": 5},
    events=200,
)
DRAINED = push.Table(rows=41, keys=41, tombstones=8, deleted=8, exact=True)
PUSHED = push.Pushed(
    sent={"events": 79, "accepted": 158, "forged": 1},
    counted={"stored": 79, "duplicate": 79, "200": 158, "401": 1},
    after_s=3.14,
    drained=DRAINED,
    log={"order.created": 44, "order.updated": 43, "order.deleted": 13, "order.restored": 2},
    replayed=102,
    table=push.Table(rows=45, keys=45, tombstones=11, deleted=11, exact=True),
)
TRUE = {
    "429": (
        TROUBLE,
        "429: waited 5.0 s (Retry-After: 5), went on; without the header: backoff 0.7 s, 1.3 s,"
        " went on",
    ),
    "budget": (
        SPENT,
        "budget of 1,000 requests an hour: 1,000 sent, 0 refused, stopped with a checkpoint,"
        " the next in 60 min",
    ),
    "kill": (KILLED, "killed at page 40 of 100, resumed at 38, exact: 5,000 of 5,000 rows"),
    "incremental": (CHANGES, "run 2: 3 requests, 43 records: 41 changed, 2 stood at the watermark"),
    "late": (
        CHANGES,
        "older version arrived late: row unchanged (2025-03-01 came, 2025-03-02 stays)",
    ),
    "rejects": (
        TROUBLE,
        "7 rejected: missing_field 4, bad_date 3 (table _rejects), 93 rows, error_rate 0.07",
    ),
    "new-field": (CHANGES, "new field: column source added, 195 old rows null, 5 have it"),
    "webhook": (
        PUSHED,
        "webhook twice, one row: 79 events, 158 accepted, 79 duplicates, 1 forged refused;"
        " 41 rows, 3.1 s after the last POST",
    ),
    "replay": (
        PUSHED,
        "event log replayed, deletes included: state lost, 102 events read again, 13 deletes,"
        " 34 rows and 11 tombstones, exact",
    ),
}
UNTRUE = [
    ("429", {"gap_s": 4.9}),
    ("429", {"backoff_s": [0.7]}),
    ("429", {"complete": False}),
    ("budget", {"answered": {"200": 1_000, "429": 1}}),
    ("budget", {"answered": {"200": 980}}),
    ("budget", {"rows": 3_996}),
    ("budget", {"incomplete": None}),
    ("budget", {"checkpoint": {"last_cursor": None}}),
    ("kill", {"exact": False}),
    ("kill", {"asked_again": 101}),
    ("kill", {"asked_again": 55}),
    ("incremental", {"report": {"rows_ingested": 42, "requests": 3}}),
    ("incremental", {"exact": False}),
    ("late", {"after": (ROW[0], "(7,older)")}),
    ("late", {"late_ingested": 0}),
    ("late", {"late": {"id": 7, "updated_at": "2025-03-03T10:00:00Z"}}),
    ("rejects", {"rejects": {"missing_field": 4}}),
    ("rejects", {"rejects": {}, "counted": {}, "listed": 94}),
    ("rejects", {"rows": 92}),
    ("new-field", {"columns": {}}),
    ("new-field", {"columns": {"source": 0}}),
    ("new-field", {"exact": False}),
    ("webhook", {"sent": {"events": 78, "accepted": 156, "forged": 1}}),
    ("webhook", {"counted": {"stored": 79, "duplicate": 78, "200": 158, "401": 1}}),
    ("webhook", {"counted": {"stored": 80, "duplicate": 79, "200": 159, "401": 0}}),
    ("webhook", {"drained": DRAINED._replace(rows=42)}),
    ("webhook", {"drained": DRAINED._replace(tombstones=7)}),
    ("webhook", {"drained": DRAINED._replace(exact=False)}),
    ("replay", {"replayed": 0}),
    ("replay", {"log": {"order.created": 59, "order.updated": 43}}),
    ("replay", {"table": PUSHED.table._replace(exact=False)}),
    ("replay", {"table": PUSHED.table._replace(tombstones=10)}),
    ("replay", {"table": DRAINED}),
]


def test_every_scene_has_a_line_here_and_a_connector_without_mistakes() -> None:
    assert {scene.name for scene in SCENES} == set(TRUE)
    assert len(SCENES) == len(TRUE)
    files = sorted(CONNECTORS.glob("*.yaml"))
    assert {file.stem for file in files} == {
        scene.play.__module__.rpartition(".")[2] for scene in SCENES
    }
    for file in files:
        assert [str(mistake) for mistake in check(file)] == []


def test_saasctl_demo_scenes_lists_all() -> None:
    shown = CliRunner().invoke(cli, ["demo", "scenes"]).output.splitlines()
    assert [line.split()[0] for line in shown] == [scene.name for scene in SCENES]


@pytest.mark.parametrize("name", list(TRUE))
def test_the_line_has_the_figures_of_what_happened(name: str) -> None:
    evidence, line = TRUE[name]
    assert named(name).line(evidence) == line


@pytest.mark.parametrize(("name", "otherwise"), UNTRUE)
def test_a_line_that_is_not_true_is_not_told(name: str, otherwise: dict[str, Any]) -> None:
    evidence: Any = TRUE[name][0]
    with pytest.raises(UntrueError):
        named(name).line(evidence._replace(**otherwise))


def test_an_unknown_scene_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r'no scene "kil"; did you mean "kill"'):
        named("kil")


def test_the_checkpoint_is_what_the_state_says_of_each_stream() -> None:
    state = {
        "bookmarks": {
            "events": {
                "replication_key": "updated_at",
                "replication_key_value": "2025-04-12T09:30:00Z",
                "last_success_ts": "2025-04-12T09:33:00Z",
                "last_cursor": "abc123",
                "resume": [],
            },
            "_runs": {},
        }
    }
    assert checkpoint.read(state) == {
        "events": {
            "last_cursor": "abc123",
            "last_success_ts": "2025-04-12T09:33:00Z",
            "watermark": "2025-04-12T09:30:00Z",
        }
    }
    assert checkpoint.read({}) == {}


class Left(NamedTuple):
    """What a scene could leave behind: schemas and functions, folders."""

    schemas: set[str]
    functions: int
    folders: set[Path]


def left(database: str, folder: Path) -> Left:
    with psycopg.connect(database) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'"
        ).fetchall()
        functions = connection.execute("SELECT count(*) FROM pg_proc").fetchall()
    return Left({row[0] for row in schemas}, functions[0][0], set(folder.iterdir()))


def test_a_real_kill_is_shown_told_in_the_words_of_the_domain_and_leaves_nothing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The play is real; one of the two lines over it is a lie, and only that one is refused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = left(database, tmp_path)
    told: list[str] = []
    evidence: list[kill.Killed] = []

    def play(stage: Any) -> kill.Killed:
        stage.tell = told.append
        evidence.append(kill.play(stage))
        return evidence[0]

    play.__module__ = kill.__name__
    lie = Scene("lie", "", play, lambda seen: kill.line(seen._replace(exact=False)))
    shown: list[str] = []
    assert not show.show_all([lie, Scene("kill", "", play, kill.line)], database, shown.append)
    assert len(evidence) == 1, "scenes of one play share it"
    assert shown[0] == "lie: NOT SO: API and PostgreSQL differ; see `saasctl demo run lie`"
    assert shown[1] == kill.line(evidence[0])
    detail = "\n".join(told)
    for word in ("staging", '"last_cursor":"', '"last_success_ts":"', "rows_ingested=", "kill -9"):
        assert word in detail
    assert "error_rate=" in detail
    assert left(database, tmp_path) == before


def test_the_demo_ends_with_1_where_a_scene_is_not_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real servers, which are gone afterwards."""

    def play(stage: Any) -> int:
        stage.tell("what was done")
        return 1

    def line(seen: int) -> str:
        raise UntrueError(f"only {seen}")

    play.__module__ = kill.__name__
    monkeypatch.setenv("TAP_SAAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(scenes, "SCENES", (Scene("lie", "a lie", play, line),))
    done = CliRunner().invoke(cli, ["demo", "run", "lie"], standalone_mode=False)
    assert done.return_value == 1, done.output
    assert "what was done\nlie: NOT SO: only 1" in done.output
    assert not (tmp_path / "home" / "demo.json").exists()
