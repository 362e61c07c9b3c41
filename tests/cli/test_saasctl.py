"""`saasctl`: what people type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tap_saas.cli import COMMANDS, HELP, cli
from tap_saas.sandbox import process

GOOD = """\
name: acme
settings: {key: {secret: true, env: ACME_KEY}, region: {default: eu}}
base_url: "https://{region}.acme.example"
auth: {type: bearer, token: "{key}"}
streams:
  events:
    path: /events
    records: $.data
    primary_key: [id]
    pagination: {type: cursor, next: $.next, send: param:cursor}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme.yaml").write_text(GOOD)
    return tmp_path


def saasctl(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command as a process."""
    done = subprocess.run(
        [sys.executable, "-c", "from tap_saas.cli import main; main()", *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_help_names_each_command() -> None:
    assert set(COMMANDS) == set(HELP)
    shown = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert name in shown
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom tap_saas.cli import cli\n"
        "CliRunner().invoke(cli, ['--help'])\n"
        "print([m for m in ('singer_sdk', 'requests', 'rich', 'jsonschema') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.usefixtures("folder")
def test_check_tells_all_mistakes_with_their_lines() -> None:
    Path("bad.yaml").write_text(GOOD.replace("send:", "sned:").replace("path:", "pahts:"))
    code, _, err = saasctl("check", "bad.yaml")
    assert code == 3
    assert "bad.yaml:7:" in err
    assert "bad.yaml:10:" in err
    assert "2 mistakes" in err.splitlines()[-1] or "mistakes" in err.splitlines()[-1]


@pytest.mark.usefixtures("folder")
def test_check_needs_no_settings() -> None:
    assert saasctl("check", "acme.yaml") == (0, "acme.yaml: ok\n", "")


def test_the_bundled_connectors_are_without_mistakes() -> None:
    from tap_saas.connector.load import bundled

    for name in bundled():
        code, _, err = saasctl("check", name)
        assert (code, err) == (0, "")


def test_schema_is_a_json_schema() -> None:
    import jsonschema

    code, out, _ = saasctl("schema")
    assert code == 0
    schema = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema)
    from ruamel.yaml import YAML

    jsonschema.validate(YAML(typ="safe").load(GOOD), schema)


@pytest.mark.usefixtures("folder")
def test_meltano_prints_blocks_to_paste() -> None:
    from ruamel.yaml import YAML

    code, out, _ = saasctl("meltano", "acme.yaml")
    assert code == 0
    block = YAML(typ="safe").load(out)
    assert block["plugins"]["extractors"][0] == {
        "name": "tap-acme",
        "inherit_from": "tap-saas",
        "config": {"connector": "./acme.yaml", "settings": {"region": "eu"}},
    }
    assert "ACME_KEY" in out


STATE: dict[str, Any] = {
    "bookmarks": {
        "orders": {
            "replication_key_value": "2025-01-01T00:00:00Z",
            "last_success_ts": "2025-01-02T00:00:00Z",
            "last_cursor": "abc123",
            "resume": [{"since": None, "started_at": "2025-01-02T00:00:00Z"}],
            "partitions": [{"context": {"account": "a"}, "last_cursor": None}],
        }
    }
}


def test_state_save_keeps_the_last_line_whole(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    lines = '{"bookmarks": {}}\n' + json.dumps(STATE) + "\n"
    assert saasctl("state", "save", str(file), stdin=lines)[0] == 0
    assert json.loads(file.read_text()) == STATE
    assert list(tmp_path.iterdir()) == [file]


def test_state_save_leaves_the_file_where_nothing_came(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("{}")
    assert saasctl("state", "save", str(file))[0] == 0
    assert file.read_text() == "{}"


def test_state_save_refuses_half_a_line(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    code, _, err = saasctl("state", "save", str(file), stdin='{"bookmarks": {}}\n{"book')
    assert code == 7
    assert "not JSON" in err
    assert json.loads(file.read_text()) == {"bookmarks": {}}


def test_state_show_names_the_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(STATE))
    code, out, _ = saasctl("state", "show", str(file))
    assert code == 0
    for text in ("orders", "2025-01-01T00:00:00Z", "abc123", "full pass", "account=a"):
        assert text in out


def test_state_show_is_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    file = tmp_path / "state.json"
    queue = {"queue": ["f31a", 9, "77aa", "main"]}
    parts = {"partitions": [{"context": {"team": "[red]"}, "last_success_ts": "2025-01-01"}]}
    file.write_text(json.dumps({"bookmarks": {"webhooks.main": queue, "orders": parts}}))
    code, out, _ = saasctl("state", "show", str(file))
    assert code == 0
    for text in ("webhooks.main", "offset 9", "team=[red]", "2025-01-01"):
        assert text in out
    assert "…" not in out


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"bookmarks": 5}, "the state has no bookmarks of streams"),
        ({"orders": {}}, "the state has no bookmarks of streams"),
        ({"bookmarks": {"orders": 5}}, "orders: its bookmark is no JSON object"),
        ({"bookmarks": {"orders": {"partitions": [5]}}}, "orders: its bookmark is no JSON object"),
    ],
)
def test_a_state_of_something_else_is_one_line(
    state: dict[str, Any], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(state))
    code, _, err = saasctl("state", "show", str(file))
    assert code == 7
    assert says in err
    assert len(err.splitlines()) == 1


def test_a_group_alone_shows_its_help(tmp_path: Path) -> None:
    code, _, err = saasctl("queue")
    assert code == 2
    assert err.startswith("Usage:")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["check", "nope"], 2, 'there is no bundled connector "nope"'),
        (["check", "./nope.yaml"], 2, "nope.yaml"),
        (["state", "show", "nope.json"], 7, "nope.json: the state cannot be read"),
        (["target", "prepare", "-"], 2, "TARGET_POSTGRES_SQLALCHEMY_URL"),
        (["frobnicate"], 2, "No such command"),
        (["prevew"], 2, "No such command 'prevew'. Did you mean 'preview'? (see saasctl --help)"),
        (["queue", "peek"], 2, "Missing argument 'SOURCE'. (see saasctl queue peek --help)"),
        (["preview", "sandbox", "orders", "--set", "url"], 2, "write --set name=value"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TARGET_POSTGRES_SQLALCHEMY_URL", "SANDBOX_URL", "SANDBOX_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    got, _, err = saasctl(*arguments)
    assert got == code, err
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("proof", ["", "check: {path: /customers, params: {limit: 1}}\n"])
def test_check_online_proves_the_credentials(proof: str, folder: Path) -> None:
    running = process.start(customers=3, orders=3, events=3)
    try:
        text = proof + GOOD.replace('"https://{region}.acme.example"', running.url)
        (folder / "acme.yaml").write_text(text)
        good = saasctl("check", "acme.yaml", "--online", "--set", "key=sandbox-key")
        bad = saasctl("check", "acme.yaml", "--online", "--set", "key=wrong-wrong")
    finally:
        process.stop(running.pid)
    assert good[0] == 0, good
    assert "the credentials are good" in good[1]
    assert bad[0] == 4, bad
    assert "wrong-wrong" not in bad[2]
