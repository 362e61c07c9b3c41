"""All pages of the documentation: what they show runs, loads and exists, and nothing is missing."""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from pages import PAGES, ROOT, Block, Shell, blocks, commands, run_page
from ruamel.yaml import YAML

from tap_saas import config, errors
from tap_saas.cli import COMMANDS, cli
from tap_saas.connector import reference_page, reference_sections
from tap_saas.connector.check import check
from tap_saas.connector.model import Connector
from tap_saas.connector.reference import schema
from tap_saas.demo import services

DOCS = ROOT / "docs"
RUNNING = (DOCS / "running.md").read_text()
SIZES = {"customers": 300, "orders": 400, "events": 5_000}
MOST_ILLUSTRATIONS = 12


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A sandbox and a PostgreSQL that all pages share, as `saasctl demo up` starts them."""
    home = tmp_path / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("TAP_SAAS_", "TARGET_"))]:
            patch.delenv(name)
        running = services.up(home, SIZES)
        try:
            yield {**os.environ, **running.environment()}
        finally:
            services.down(home)


def test_every_command_runs_and_prints_what_is_shown(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    told: list[str] = []
    for page in sorted(DOCS.glob("*.md")):  # the README's are run in test_docs.py
        folder = tmp_path / page.stem
        folder.mkdir()
        shell = Shell(folder, environment)
        with contextlib.closing(shell):
            told += run_page(page, shell)
    assert not told, "\n\n".join(told)


def test_what_is_not_run_is_little_and_says_why() -> None:
    shown = [block for page in PAGES for block in blocks(page, "console", "sh")]
    skipped = [block for block in shown if block.reason is not None]
    assert all(len(block.reason or "") > 10 for block in skipped)
    assert len(skipped) <= MOST_ILLUSTRATIONS


BASE: dict[str, Any] = {
    "name": "acme",
    "settings": {
        name: {"required": False}
        for name in ("api_key", "url", "client_id", "client_secret", "webhook_secret", "region")
    },
    "base_url": "https://api.acme.example",
    "streams": {
        "orders": {
            "path": "/orders",
            "primary_key": ["id"],
            "pagination": {"type": "single"},
            "incremental": {"key": "updated_at", "start": {"send": "param:updated_after"}},
        }
    },
}
ITEMS: dict[str, Any] = {
    "path": "/items", "primary_key": ["id"], "pagination": {"type": "single"},
}  # fmt: skip
YAML_BLOCKS = [block for page in PAGES for block in blocks(page, "yaml")]
ITS_KEYS = set(Connector.__struct_fields__)


def _load(block: Block) -> dict[str, Any]:
    value: dict[str, Any] = YAML(typ="safe").load(block.body)
    return value


def _is_meltano(block: Block) -> bool:
    return bool(_load(block).keys() & {"plugins", "jobs", "schedules", "state_backend"})


@pytest.mark.parametrize(
    "block",
    [block for block in YAML_BLOCKS if not _is_meltano(block)],
    ids=lambda block: block.where,
)
def test_every_connector_or_part_of_one_is_without_mistakes(block: Block, tmp_path: Path) -> None:
    """A part stands in a connector that has what it needs: `orders`, and some settings."""
    value = _load(block)
    file = tmp_path / "connector.yaml"
    is_whole = {"base_url", "streams"} <= value.keys()
    if is_whole:
        file.write_text(block.body)
    else:
        whole = {**BASE, "streams": {**BASE["streams"], **value.pop("streams", {})}}
        whole |= {key: part for key, part in value.items() if key in ITS_KEYS}
        own = {key: part for key, part in value.items() if key not in ITS_KEYS}
        if own:
            whole["streams"] = {**whole["streams"], "items": {**ITEMS, **own}}
        with file.open("w") as out:
            YAML(typ="safe", pure=True).dump(whole, out)
    assert [str(one) for one in check(file) if is_whole or one.level == "error"] == []


def test_meltano_blocks_name_what_is_there() -> None:
    known = config.SCHEMA["properties"].keys()
    for block in filter(_is_meltano, YAML_BLOCKS):
        value = _load(block)
        for plugin in value.get("plugins", {}).get("extractors", []):
            assert plugin.get("config", {}).keys() <= known, block.where
        names = {job["name"] for job in value.get("jobs", [])}
        assert {one["job"] for one in value.get("schedules", [])} <= names, block.where


@functools.cache
def _tests() -> set[str]:
    found: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        name = str(file.relative_to(ROOT))
        tree = ast.parse(file.read_text())
        found |= {name, *(f"{name}::{n.name}" for n in tree.body if isinstance(n, ast.FunctionDef))}
    return found


def test_every_named_test_exists() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", page.read_text())
    }
    assert named - _tests() == set()


def test_every_heading_of_the_patterns_has_a_snippet_a_command_and_a_proof() -> None:
    text = (DOCS / "patterns.md").read_text()
    parts = re.split(r"^###? ", text, flags=re.MULTILINE)[1:]
    frames = {"Why this matters", "Set up", "Words", "Learning path"}
    for part in parts:
        title, _, body = part.partition("\n")
        opens_others = not body.strip() or title in {
            "Core patterns", "Worked examples", "Before you start", "During implementation",
            "Step by step: a robust API ingestor", "Common mistakes and their self-checks",
            "Practical projects", "Next steps",
        }  # fmt: skip
        if title not in frames and not opens_others:
            assert "```yaml\n" in body, title
            assert "```console\n" in body, title
            assert re.search(r"^Proof:\s`tests/", body, re.MULTILINE), title


def test_the_words_of_the_domain_lead_to_files_and_tests() -> None:
    text = (DOCS / "patterns.md").read_text()
    rows = re.findall(r"^\| (.+) \| .+ \| `(.+)` \| `(.+)` \| `(.+)` \|$", text, re.MULTILINE)
    assert len(rows) > 20
    keys = {key for part in schema()["$defs"].values() for key in part["properties"]}
    keys |= schema()["properties"].keys()
    for word, written, file, test in rows:
        assert (ROOT / file).exists() or (ROOT / "tap_saas" / file).exists(), word
        assert f"tests/{test}" in _tests(), word
        if written.endswith(":"):
            assert written.removesuffix(":") in keys, word
        else:
            first = written.split()[0]
            assert first in config.SCHEMA["properties"] or first in COMMANDS, word


def test_the_reference_of_the_language_is_that_of_the_model() -> None:
    """`make reference` writes it."""
    assert (DOCS / "language.md").read_text() == reference_page.page()


def test_the_reference_has_every_part_of_the_model() -> None:
    parts = {part.__name__ for one in reference_sections.SECTIONS for part in one.parts}
    assert schema()["$defs"].keys() <= parts
    told = reference_page.page()
    for name, part in schema()["$defs"].items():
        for key in part["properties"]:
            assert f"- **`{key}`**" in told or f"- **`{key}: " in told, f"{name}.{key}"


def _rows(title: str) -> set[str]:
    """What the first column of the table under a heading of running.md has in code."""
    _, _, rest = RUNNING.partition(f"\n## {title}\n")
    part = rest.partition("\n## ")[0]
    return {name for row in re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", row)}  # fmt: skip


def test_every_setting_is_documented_and_no_other() -> None:
    assert _rows("Settings") == config.SCHEMA["properties"].keys()


def _known(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _known(inner, f"{path} {name}")
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command


def test_every_command_is_documented_and_no_other() -> None:
    assert _rows("Commands") == {path for path, _ in _known(cli, "saasctl")} | {"tap-saas"}


def test_every_option_that_is_shown_exists() -> None:
    known = dict(_known(cli, "saasctl"))
    texts = [command.text for page in PAGES for block in blocks(page, "console")
             for command in commands(block)]  # fmt: skip
    texts += [block.body for page in PAGES for block in blocks(page, "sh")]
    texts += [one for page in PAGES for one in re.findall(r"`(saasctl [^`\n]+)`", page.read_text())]
    for text in texts:
        for call in re.findall(r"\bsaasctl ([^\n|;&()<>]+)", text):
            words = _words(call)
            path = next(
                (p for n in (2, 1) if (p := " ".join(["saasctl", *words[:n]])) in known), None
            )
            if path is None:
                continue
            options = {o for param in known[path].params for o in param.opts + param.secondary_opts}
            asked = {word.partition("=")[0] for word in _before(words, "--") if word[:2] == "--"}
            assert asked - options - {"--help"} == set(), text


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text.replace("\\\n", " "), comments=True)
    except ValueError:
        return text.split()


def _before(words: list[str], mark: str) -> list[str]:
    return words[: words.index(mark)] if mark in words else words


def test_every_exit_code_is_documented_and_no_other() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    ours = {c.exit_code for c in classes if issubclass(c, errors.TapSaasError)}
    _, _, rest = RUNNING.partition("\n## Exit codes\n")
    rows = re.findall(r"^\| ([\d, ]+) \|", rest.partition("\n## ")[0], re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == ours | {0, 129, 130, 143}


@functools.cache
def _texts() -> str:
    """Every text in the source, a line each; what is filled in is left out."""
    found: list[str] = []
    for folder in ("tap_saas", "target_config"):
        for file in (ROOT / folder).rglob("*.py"):
            nodes = ast.walk(ast.parse(file.read_text()))
            found += [
                n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)
            ]
    return "\n".join(found)


def test_every_error_line_of_troubleshooting_is_one_of_ours() -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    lines = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(lines) > 30
    for line in lines:
        for part in line.split("..."):
            assert part.strip() in _texts(), line


def test_every_variable_is_documented_and_no_other() -> None:
    pattern = re.compile(r"\bTAP_SAAS_[A-Z_]+\b")
    source = {name for name in pattern.findall(_texts()) if "TEST" not in name}
    told = {name for page in PAGES for name in pattern.findall(page.read_text())}
    assert source <= told
    assert told <= source | {"TAP_SAAS_LOGLEVEL"}  # the SDK's, named after the tap


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text()
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            other = page if not path else page.parent / path
            assert other.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in _anchors(other.read_text()), f"{page.name}: {target}"


def _anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_lines_are_no_longer_than_a_screen_is_wide() -> None:
    long = [
        f"{page.name}:{number}"
        for page in PAGES
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > 120 and not line.startswith("|") and '{"' not in line
    ]
    assert long == []


def test_shell_and_unit_files_are_whole(tmp_path: Path) -> None:
    """Every `sh` block of the docs is a file that commands use, every `ini` block a unit."""
    for page in DOCS.glob("*.md"):
        for block in blocks(page, "sh", "ini"):
            assert block.file or block.reason, block.where
            if block.kind == "sh":
                subprocess.run(["bash", "-n"], input=block.body, text=True, check=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_units_are_ones_of_systemd(tmp_path: Path) -> None:
    """Paths are those of this machine; the program and the user are the reader's own."""
    names = []
    (tmp_path / "env").touch()
    for block in blocks(DOCS / "deploy.md", "ini"):
        text = block.body.replace("/srv/acme/venv/bin/saasctl", "/usr/bin/env")
        text = text.replace("/srv/acme", str(tmp_path)).replace(
            "/etc/acme.env", str(tmp_path / "env")
        )
        (tmp_path / str(block.file)).write_text(text)
        names.append(str(tmp_path / str(block.file)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert len(names) == 4
    ours = [line for line in done.stderr.splitlines() if "acme" in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_the_dockerfile_copies_what_is_there_and_says_no_secret() -> None:
    (block,) = blocks(DOCS / "deploy.md", "dockerfile")
    known = {"FROM", "ENV", "COPY", "RUN", "WORKDIR", "USER", "VOLUME", "STOPSIGNAL", "CMD"}
    lines = block.body.replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines]
    assert [word for word, _ in steps if word not in known] == []
    assert steps[0][0] == "FROM"
    assert [word for word, _ in steps].index("USER") > [word for word, _ in steps].index("RUN")
    shown = {block.file for block in blocks(DOCS / "deploy.md")} | {"."}
    for word, rest in steps:
        if word == "COPY":
            assert set(rest.split()[:-1]) <= shown
        if word in ("CMD", "VOLUME"):
            assert json.loads(rest)
        if word == "RUN":
            subprocess.run(["bash", "-n"], input=rest, text=True, check=True)
        assert "SECRET" not in rest
