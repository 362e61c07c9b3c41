"""Schemas that grow and drift, through the real tap into the real target."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from drift import Runs, drifting, is_readable
from harness import BIN, SCHEMA, Pipeline, finish, start
from sandbox_api import Answer, connector, serve
from singer_output import Done

from tap_saas.sync.columns import MOST_COLUMNS

HOUR = "2025-01-01T{:02}:00:00Z"
THINGS = "  things:\n    path: /things\n    version: updated_at\n"
ASC = "    incremental: {key: updated_at, start: {send: param:since}, order: asc}\n"


class Api:
    """Lists of pages that a test may change between two runs: `pages[path]`; `?cursor=` is the
    number of the page. A single record is at its list's path and its id.
    """

    def __init__(self) -> None:
        self.pages: dict[str, list[list[dict[str, Any]]]] = {}

    def answer(self, at: str) -> Answer:
        """The page that is asked for, with decimals as they are."""
        url = urlsplit(at)
        query = parse_qs(url.query)
        if url.path not in self.pages:
            return self._single(url.path)
        pages, number = self.pages[url.path], int(query.get("cursor", ["0"])[0])
        records = pages[number] if pages else []
        since = query.get("since", [""])[0]
        more = number + 1 < len(pages)
        body = {
            "data": [one for one in records if one.get("updated_at", since) >= since],
            "next_cursor": str(number + 1) if more else None,
            "has_more": more,
        }
        return Answer(json.dumps(body).encode())

    def _single(self, path: str) -> Answer:
        folder, _, name = path.rpartition("/")
        found = [
            one for page in self.pages.get(folder, []) for one in page if str(one["id"]) == name
        ]
        return Answer(json.dumps(found[0]).encode()) if found else Answer(b"{}", 404)


@contextlib.contextmanager
def served() -> Iterator[tuple[Api, str]]:
    api = Api()
    with serve(api.answer) as url:
        yield api, url


def rows_of(shop: Pipeline, stream: str) -> list[dict[str, Any]]:
    """The rows of a table without the target's own columns, by id."""
    found = shop.query(f"SELECT to_jsonb(t)::text FROM {SCHEMA}.{stream} t")
    rows = [json.loads(row[0], parse_float=Decimal) for row in found]
    plain = [{n: v for n, v in row.items() if not n.startswith("_sdc_")} for row in rows]
    return sorted(plain, key=lambda row: row["id"])


def schemas(done: Done, stream: str) -> list[dict[str, Any]]:
    """The properties of each SCHEMA of a stream."""
    return [
        message["schema"]["properties"]
        for message in done.messages
        if message["type"] == "SCHEMA" and message["stream"] == stream
    ]


def test_whatever_drifts_is_readable_in_the_database(folder: Path, database: str) -> None:
    shop = Pipeline(folder, "http://127.0.0.1:9", connector(THINGS), database=database)
    sent: dict[str, list[dict[str, Any]]] = {}
    lines = b""
    for seed in range(24):
        dice = random.Random(seed)
        runs = Runs(f"s{seed}")
        sent[f"s{seed}"] = records = [drifting(dice, number) for number in range(30)]
        left = list(records)
        while left:
            size = dice.choice([1, 2, 7])
            runs.page(left[:size])
            left = left[size:]
            if dice.random() < 0.3:
                runs.begin()
        assert runs.rejects == []
        lines += runs.lines
    done = shop.load(lines)
    assert done.code == 0, done.told[-3_000:]
    for stream, records in sent.items():
        rows = {row["id"]: row for row in rows_of(shop, stream)}
        for record in records:
            for name in record.keys() - {"id"}:
                row = rows[record["id"]]
                assert is_readable(row, name, record[name]), (stream, name, record, row)


def test_identifiers_as_names_and_wide_records_leave_a_table_that_can_be_used(
    folder: Path, database: str
) -> None:
    with served() as (api, url):
        sent = [
            {"id": n, "updated_at": HOUR.format(1), f"user_{n}": {"seen": n}, "size": n}
            for n in range(400)
        ]
        wide = {"id": 9_000, "updated_at": HOUR.format(1), "size": 1}
        sent.append({**wide, **{f"user_{n}": {"text": "x" * 90} for n in range(450)}})
        api.pages["/things"] = [sent[at : at + 80] for at in range(0, len(sent), 80)]
        shop = Pipeline(folder, url, connector(THINGS), database=database)
        shop.prepare()
        done = shop.run()
    done.assert_good()
    assert len(schemas(done.tap, "things")) <= 5
    assert "new columns, SCHEMA written" in done.tap.told
    assert "kept in _more_fields: " in done.tap.told
    rows = {row["id"]: row for row in rows_of(shop, "things")}
    assert len(rows) == len(sent)
    assert len(rows[1]) <= MOST_COLUMNS + 2
    for record in sent:
        for name in record.keys() - {"id", "updated_at"}:
            assert is_readable(rows[record["id"]], name, record[name]), (name, record["id"])


FIRST = {
    "id": 1,
    "updated_at": HOUR.format(1),
    "note": None,
    "inner": {"a": 1},
    "pin": 7,
    "word": 5,
}


def test_new_fields_become_columns_whenever_they_come(folder: Path, database: str) -> None:
    with served() as (api, url):
        later = {**FIRST, "id": 2, "inner": {"a": 1, "b": {"c": [1]}}, "size": 2.5}
        api.pages["/things"] = [[FIRST], [later]]
        shop = Pipeline(folder, url, connector(THINGS + ASC), database=database)
        shop.prepare()
        catalog = json.loads(shop.tap("--discover").out)
        (things,) = [s for s in catalog["streams"] if s["stream"] == "things"]
        for entry in things["metadata"]:
            if entry["breadcrumb"] == ["properties", "pin"]:
                entry["metadata"]["selected"] = False
        chosen = folder / "catalog.json"
        chosen.write_text(json.dumps(catalog))
        first = shop.run("--catalog", str(chosen))
        first.assert_good()
        first.tap.assert_singer()
        new = {
            "id": 3,
            "updated_at": HOUR.format(2),
            "note": "at last",
            "pin": "secret",
            "hue": "red",
        }
        api.pages["/things"] = [
            [{**new, "word": "five"}],
            [{**FIRST, "updated_at": HOUR.format(3)}],
        ]
        second = shop.run("--catalog", str(chosen))
        second.assert_good()
        second.tap.assert_singer()
    rows = rows_of(shop, "things")
    at = [f"2025-01-01T{hour:02}:00:00+00:00" for hour in range(4)]
    empty = {"note": None, "size": None, "hue": None, "word__text": None}
    for row in rows:
        assert row.pop("pin", None) is None
    assert rows == [
        {**empty, "id": 1, "updated_at": at[3], "inner": {"a": 1}, "word": 5},
        {**empty, "id": 2, "updated_at": at[1], "inner": later["inner"], "word": 5, "size": 2.5},
        {
            "id": 3, "updated_at": at[2], "inner": None, "word": None, "word__text": "five",
            "note": "at last", "hue": "red", "size": None,
        },
    ]  # fmt: skip
    assert [len(schemas(done.tap, "things")) for done in (first, second)] == [2, 2]


def test_flattened_streams_grow_too(folder: Path) -> None:
    with served() as (api, url):
        later = {**FIRST, "id": 2, "inner": {"a": 1, "b": 2}, "size": 2.5, "pin": "x"}
        api.pages["/things"] = [[FIRST], [later]]
        shop = Pipeline(folder, url, connector(THINGS))
        shop.configure(flattening_enabled=True, flattening_max_depth=1)
        done = shop.tap()
    assert done.code == 0, done.told
    done.assert_singer()
    assert [record.get("size") for record in done.records("things")] == [None, 2.5]
    assert done.records("things")[1]["pin__text"] == "x"


DECLARED = f"""\
{THINGS}    schema:
      type: object
      properties:
        id: {{type: integer}}
        updated_at: {{type: string, format: date-time}}
        state: {{type: string, enum: [open, closed]}}
        amount: {{type: [integer, "null"]}}
"""


def thing(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "updated_at": HOUR.format(number % 24), "state": "open", **more}


def watermarks(done: Done) -> set[Any]:
    """The watermarks of all STATEs."""
    states = [message["value"] for message in done.messages if message["type"] == "STATE"]
    found = [state["bookmarks"].get("things", {}) for state in states]
    return {(one.get("replication_key_value"), len(one.get("resume", []))) for one in found}


def test_a_run_that_fails_for_its_rejects_keeps_them_and_moves_nothing(
    folder: Path, database: str
) -> None:
    with served() as (api, url):
        good = [thing(n) for n in range(20)]
        bad = [thing(20), thing(21, state="odd"), thing(22)]
        api.pages["/things"] = [bad[:2], good[:10], good[10:], bad[2:]]
        strict = connector(DECLARED + ASC + "    on_invalid: fail\n")
        shop = Pipeline(folder, url, strict, database=database)
        shop.prepare()
        done = shop.run()
        done.tap.assert_one_line(6, "things: a record was refused: /state: ", "table _rejects")
        assert watermarks(done.tap) == {(None, 0)}
        assert done.target.code == 0
        kept = shop.query("SELECT error, record_key FROM shop._rejects")
        assert kept == [("bad_value", "[21]")]
        # Too many so far, but not in the end: STATE waits until it is so.
        shop.yaml.write_text(connector(DECLARED + ASC + "    max_rejects: 10%\n"))
        done = shop.run()
        done.assert_good()
        assert "things: 1 records rejected: bad_value 1 (table _rejects)" in done.tap.told
        assert len(rows_of(shop, "things")) == 22
        # Over the limit where a limit of the run ends it: the same as at its end.
        shop.state.unlink()
        shop.configure(max_requests=1)
        ended = shop.tap()
        ended.assert_one_line(6, "1 of 2 records rejected (limit 10 %), most: bad_value 1")
        assert watermarks(ended) == {(None, 0)}
    assert shop.query("SELECT count(*) FROM shop._rejects") == [(1,)]


def test_prepare_names_the_column_of_a_declared_type_that_changed(
    folder: Path, database: str
) -> None:
    with served() as (api, url):
        api.pages["/things"] = [[thing(2, amount=2.5)]]
        shop = Pipeline(folder, url, connector(DECLARED), database=database)
        shop.prepare()
        shop.query("INSERT INTO shop.things (id, amount) VALUES (1, 5) RETURNING id")
        shop.yaml.write_text(connector(DECLARED.replace("[integer,", "[number,")))
        command = [
            BIN / "saasctl", "target", "prepare", shop.yaml, "--config", shop.config,
            "--schema", SCHEMA, "--database-url", database,
        ]  # fmt: skip
        refused = finish(start(command, shop.environment))
        assert refused.code == 9
        assert "shop.things: amount is bigint and cannot take numeric; run: ALTER" in refused.told
        widened = finish(start([*command, "--migrate"], shop.environment))
        assert widened.code == 0, widened.told
        assert "amount widened from bigint" in widened.told
        shop.run().assert_good()
    assert [row["amount"] for row in rows_of(shop, "things")] == [5, 2.5]
