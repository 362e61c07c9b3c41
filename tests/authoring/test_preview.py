"""`saasctl new` and `saasctl preview`: from five lines to a whole stream, by pasting."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lookalikes as apis
import pytest
from commands import saasctl
from harness import BIN
from lookalikes import World
from small_apis import Handler, Reply, serve

STREAM = """\
name: acme
base_url: {url}
streams:
  things: {{path: /things}}
"""


def previewed(folder: Path, handler: Handler, stream: str = STREAM) -> str:
    """What preview prints of a stream."""
    with serve(handler) as url:
        (folder / "acme.yaml").write_text(stream.format(url=url))
        done = saasctl("preview", "acme.yaml", folder=folder)
    assert done.code == 0, done.err
    return done.out


def test_a_wide_record_stands_upright_in_a_narrow_terminal(tmp_path: Path) -> None:
    names = [f"field_{n}" for n in range(12)]

    def wide(_: object) -> Reply:
        return Reply([dict.fromkeys(names, 0.25 + at) for at in range(3)])

    with serve(wide) as url:
        text = STREAM.replace("/things", "/things, pagination: {{type: single}}").format(url=url)
        (tmp_path / "acme.yaml").write_text(text)
        shown = [
            saasctl("preview", "acme.yaml", folder=tmp_path, COLUMNS=columns).out
            for columns in ("200", "80")
        ]
    assert [line.count("0.25") for line in shown[0].splitlines()[3:4]] == [12]
    upright = next(line for line in shown[1].splitlines() if "field_7" in line)
    assert [upright.count(value) for value in ("0.25", "1.25", "2.25")] == [1, 1, 1]
    assert '"0.25"' not in shown[1]


CASES = {
    "a cursor": (
        apis.files,
        ["there is no list at $, but 50 objects at $.items; into the stream:", "records: $.items",
         "missing: a primary key; unique and never null here", "primary_key: [id]",
         "missing: pagination; the answer has a cursor at $.nextPageToken (YXQ6NTA)",
         "pagination: {type: cursor, next: $.nextPageToken, send: param:pageToken}",
         "incremental: {key: updated, start: {send: param:updated_after}}"],
    ),
    "a Link header": (
        apis.issues,
        ["the answer has a header Link with rel=next (http", "pagination: {type: link_header}",
         "the API tells its limit (X-RateLimit-Limit: 5000", "at the top of the file:",
         "budgets: {seen: {remaining: header:X-RateLimit-Remaining"],
    ),
    "a link and a flag": (
        apis.users, ["pagination: {type: next_url, next: $.links.next, more: $.meta.has_more}"],
    ),
    "a page number and a total": (
        apis.books, ["the answer has $.number is 0", "pagination: {type: page, first: 0}",
                     "lastModified is a date of the last change (epoch_ms)"],
    ),
    "nothing": (
        apis.countries, ["nothing in the answer speaks of a next page",
                         "pagination: {type: single}", "primary_key: [code]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_preview_says_what_is_missing_in_words_to_paste(name: str, tmp_path: Path) -> None:
    api, wanted = CASES[name]
    shown = previewed(tmp_path, api(World()))
    assert [line for line in wanted if line not in shown] == [], shown
    assert saasctl("check", "acme.yaml", folder=tmp_path).code == 3


def test_pasted_lines_make_a_whole_stream(tmp_path: Path) -> None:
    with serve(apis.files(World())) as url:
        file = tmp_path / "acme.yaml"
        file.write_text(f"name: acme\nbase_url: {url}\nstreams:\n  files:\n    path: /files\n")
        for _ in range(3):
            lines = saasctl("preview", "acme.yaml", folder=tmp_path).out.splitlines()
            known = file.read_text()
            pasted = [
                line
                for line in lines
                if line.startswith("    ") and line.split(":")[0] not in known
            ]
            file.write_text(known + "".join(f"{line}\n" for line in pasted))
        assert saasctl("check", "acme.yaml", folder=tmp_path).code == 0, file.read_text()
        records = _pulled(tmp_path)
    assert len(records) == len({record["id"] for record in records}) == 137


def test_a_last_page_shows_what_will_be_there(tmp_path: Path) -> None:
    reply = Reply({"data": [{"id": 1}, {"id": 2}], "next_cursor": None, "has_more": False})
    shown = previewed(tmp_path, lambda _: reply)
    assert "pagination: {type: cursor, next: $.next_cursor, send: param:cursor" in shown
    assert "$.next_cursor is there, and empty, as this is the last page" in shown


def test_a_finished_stream_is_shown_as_it_is(tmp_path: Path) -> None:
    stream = STREAM.replace(
        "path: /things",
        "path: /things, records: $.items, primary_key: [no],"
        " pagination: {{type: cursor, next: $.nextPageToken, send: param:pageToken}}",
    )
    shown = previewed(tmp_path, apis.files(World()), stream)
    assert "next page: 'YXQ6NTA'" in shown
    assert "the key $.no is not in the records, which have: kind, id, updated, size" in shown
    one = STREAM.replace("path: /things", "path: /things, pagination: {{type: single}}")
    assert "next page: none, this is the last" in previewed(tmp_path, apis.users(World()), one)


def test_preview_refuses_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(
        STREAM.format(url="http://127.0.0.1:1").replace("path", "pat")
    )
    done = saasctl("preview", "acme.yaml", folder=tmp_path)
    assert (done.code, 'did you mean "path"?' in done.err) == (3, True), done.err


@pytest.fixture
def contacts() -> Iterator[str]:
    with serve(apis.contacts(World())) as url:
        yield url


def test_new_runs_at_once(contacts: str, tmp_path: Path) -> None:
    given = ["--url", f"{contacts}/contacts", "--header", "X-Api-Key={CRM_KEY}"]
    done = saasctl("new", "crm", *given, folder=tmp_path, CRM_KEY="contacts-key-1")
    assert done.code == 0, done.err
    text = (tmp_path / "crm.yaml").read_text()
    assert len(text.splitlines()) == 7
    assert "contacts-key-1" not in text
    assert saasctl("check", "crm.yaml", folder=tmp_path).code == 0
    shown = saasctl("preview", "crm.yaml", folder=tmp_path, CRM_KEY="contacts-key-1").out
    assert "but the answer has a link at $.paging.next.link" in shown
    assert len(_pulled(tmp_path, "crm.yaml", CRM_KEY="contacts-key-1")) == 10


def test_new_without_an_address_is_a_file_to_edit(tmp_path: Path) -> None:
    assert saasctl("new", folder=tmp_path).code == 0
    assert saasctl("new", "Big Shop", folder=tmp_path).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.yaml", "big_shop.yaml"]
    assert saasctl("check", "big_shop.yaml", folder=tmp_path).out == "big_shop.yaml: ok\n"
    assert saasctl("new", folder=tmp_path).code == 2


def _pulled(folder: Path, file: str = "acme.yaml", **env: str) -> list[dict]:
    (folder / "tap.json").write_text(json.dumps({"connector": file}))
    done = subprocess.run(
        [BIN / "tap-saas", "--config", "tap.json"],
        cwd=folder, env={**os.environ, **env}, capture_output=True, check=True,
    )  # fmt: skip
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    return [m["record"] for m in messages if m["type"] == "RECORD" and m["stream"][0] != "_"]
