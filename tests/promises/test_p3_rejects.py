"""P3: every record is a row, or a reject with its reason; nothing kills the target."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from harness import BIN, SCHEMA, Pipeline, finish, start
from sandbox_api import KEY, Answer, Sandbox, connector, serve
from singer_output import Done

from target_config.settings import shipped

INCREMENTAL = "    incremental: {key: updated_at, start: {send: param:updated_after}, order: asc}\n"
LEARNT = "  oddities:\n    path: /oddities\n    version: updated_at\n"
DECLARED = f"""\
{LEARNT}    schema:
      type: object
      properties:
        id: {{type: integer}}
        case: {{type: [string, "null"]}}
        text: {{type: [string, "null"]}}
        at: {{type: [string, "null"], format: date-time}}
        amount: {{type: [number, "null"]}}
        count: {{type: [integer, "null"]}}
        tags: {{type: [array, "null"]}}
        nested: {{type: [object, "null"]}}
        updated_at: {{type: [string, "null"], format: date-time}}
"""
NO_LIMIT = "    max_rejects: 100%\n"
USES_COPY = shipped()["use_copy"]
DATE = "bad_date"
TYPE = "bad_type"
REASONS = {
    "an empty text is no date-time": DATE,
    "there is no such day": DATE,
    "a leap second cannot be stored": DATE,
    "there is no year 0": DATE,
    "not a date-time": DATE,
    "not a number": TYPE,
    "not a whole number": TYPE,
    "not a text": TYPE,
    "not an integer": TYPE,
    "beyond 64 bits": "out_of_range",
    "a key may not be null": TYPE,  # the declared type says so before the key is looked at
    "a key must be there": "bad_key",
}
"""The sandbox's word for what is wrong with a record -> the type of our error."""


def _verdicts(box: Sandbox) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = box.tell("GET", "/_truth?stream=oddities")["verdicts"]
    return verdicts


def _rejected(shop: Pipeline) -> list[tuple[Any, ...]]:
    return shop.query(
        "SELECT payload::jsonb ->> 'case', error, pointer, message, masked FROM shop._rejects"
        " WHERE stream = 'oddities'"
    )


def test_declared_types_every_odd_record_is_a_row_or_a_reject_as_it_should(
    folder: Path, box: Sandbox, database: str
) -> None:
    shop = Pipeline(folder, box.url, connector(DECLARED + NO_LIMIT), database=database)
    shop.prepare()
    done = shop.run()
    done.assert_good()
    verdicts = _verdicts(box)
    rejected = _rejected(shop)
    wanted = {v["case"]: REASONS[v["why"]] for v in verdicts if v["expect"] == "reject"}
    assert {case: error for case, error, *_ in rejected} == wanted
    assert all(pointer and message and not masked for *_, pointer, message, masked in rejected)
    rows = {row[0]: row for row in shop.query(
        "SELECT id, \"case\", text, at AT TIME ZONE 'UTC', amount, count FROM shop.oddities"
    )}  # fmt: skip
    assert sorted(rows) == sorted(v["id"] for v in verdicts if v["expect"] == "row")
    sent = {record["id"]: record for record in done.tap.records("oddities")}
    for verdict in verdicts:
        if verdict["expect"] == "row":
            _assert_arrived(verdict, rows[verdict["id"]], sent[verdict["id"]])
    stale = sum(v["expect"] == "stale" for v in verdicts)
    assert len(rows) + len(rejected) + stale == len(verdicts)
    # The run says the same of itself.
    (told,) = shop.query("SELECT rows_ingested, rows_rejected, errors FROM shop._runs")
    errors = json.loads(told[2]) if isinstance(told[2], str) else told[2]
    assert (told[0], told[1]) == (len(rows), len(rejected))
    assert errors == Counter(error for _, error, *_ in rejected)


def _assert_arrived(verdict: dict[str, Any], row: tuple[Any, ...], sent: dict[str, Any]) -> None:
    _, case, text, at, amount, count = row
    assert case == verdict["case"]
    found = {"text": text, "at": at and f"{at.isoformat()}Z", "amount": amount, "count": count}
    for name, wanted in verdict["arrives"].items():
        if name == "amount" and wanted is not None:
            assert Decimal(sent[name]) == Decimal(wanted), case
            # COPY: target-postgres 0.8.1 makes a float of it.
            assert amount == (Decimal(repr(float(wanted))) if USES_COPY else Decimal(wanted)), case
        else:
            assert found[name] == wanted, case


def test_learnt_types_lose_nothing_either(folder: Path, box: Sandbox, database: str) -> None:
    shop = Pipeline(folder, box.url, connector(LEARNT + NO_LIMIT), database=database)
    shop.prepare()
    shop.run().assert_good()
    verdicts = _verdicts(box)
    cases = {case for (case,) in shop.query('SELECT "case" FROM shop.oddities')}
    rejected = {case: error for case, error, *_ in _rejected(shop)}
    stale = {v["case"] for v in verdicts if v["expect"] == "stale"}
    assert sorted([*cases, *rejected, *stale]) == sorted(v["case"] for v in verdicts)
    assert rejected == {"null_key": "bad_key", "missing_key": "bad_key", "text_for_key": TYPE}
    beside = dict(shop.query(
        'SELECT "case", coalesce(amount__text, count__text, text__text) FROM shop.oddities'
        " WHERE coalesce(amount__text, count__text, text__text) IS NOT NULL"
    ))  # fmt: skip
    assert beside == {
        "word_for_amount": "twelve",
        "true_for_integer": "true",
        "object_for_text": '{"a":1}',
    }


def test_too_many_rejects_fail_the_run_and_the_next_one_reads_them_again(
    folder: Path, box: Sandbox
) -> None:
    shop = Pipeline(folder, box.url, connector(DECLARED + INCREMENTAL))
    first = shop.tap()
    assert first.code == 6, first.told
    assert len(first.lines) == 1
    assert "oddities: 14 of 44 records rejected (limit 5 %), most: bad_type 6; " in first.lines[0]
    shop.state.write_text(json.dumps(first.last_state))
    assert len(first.records("_rejects")) == 14
    second = shop.tap()
    assert second.code == 6, second.told
    assert len(second.records("_rejects")) == 14
    ids = [{record["id"] for record in done.records("_rejects")} for done in (first, second)]
    assert ids[0] == ids[1]


REPLAYED = """\
  things:
    path: /things
    for_each: {setting: accounts, as: account}
    params: {account: "{account}"}
    version: updated_at
    max_rejects: 100%
    schema:
      type: object
      properties:
        id: {type: integer}
        updated_at: {type: string, format: date-time}
        state: {type: string, enum: [open]}
        note: {type: string}
    primary_key: [account, id]
  plain:
    path: /things
    max_rejects: 100%
    schema:
      type: object
      properties: {id: {type: integer}, state: {enum: [open]}}
"""
CHANGES = """\
events:
  changes:
    path: /events
    pagination: {type: seek, field: id, send: param:after}
    id: $.id
    type: $.type
    routes:
      - stream: things
        fetch: {path: "/things/{id}", values: {id: $.thing, account: $.account}}
"""
ACCOUNTS = "  accounts: {type: array, default: [a, b]}\n"


def _answer(at: str) -> Answer:
    """Six things of each account: two are good, two are new, one is bad, one has a secret."""
    path, _, query = at.partition("?")
    things = [
        {"id": n, "updated_at": f"2025-01-0{n}T00:00:00Z", "state": state, "note": note}
        for n, state, note in (
            (1, "open", ""), (2, "open", ""), (3, "new", "n"), (4, "new", "n"), (5, 7, ""),
            (6, "new", f"key {KEY}"),
        )
    ]  # fmt: skip
    if path.count("/") > 1:
        return Answer(json.dumps(things[int(path.rpartition("/")[2]) - 1]).encode())
    things = [
        {**one, "note": f"{one['note']} {query.partition('account=')[2][:1]}"} for one in things
    ]
    return Answer(json.dumps({"data": things, "next_cursor": None, "has_more": False}).encode())


def _saasctl(shop: Pipeline, *arguments: str | Path) -> Done:
    url = {"TARGET_POSTGRES_SQLALCHEMY_URL": shop.database}
    return finish(start([BIN / "saasctl", "rejects", *arguments], {**shop.environment, **url}))


def test_rejects_are_counted_shown_and_replayed_once_the_connector_is_mended(
    folder: Path, database: str
) -> None:
    text = connector(REPLAYED + CHANGES).replace("  url: {}\n", "  url: {}\n" + ACCOUNTS)
    with serve(_answer) as url:
        shop = Pipeline(folder, url, text, database=database)
        shop.configure(feeds=["pull"])
        shop.prepare()
        run = shop.run()
        run.assert_good()
        _assert_listed(shop, run.tap)
        shop.yaml.write_text(text.replace("enum: [open]", "enum: [open, new]"))
        # A newer version of one of them is there already: what is replayed must not win.
        shop.query(
            "INSERT INTO shop.things (account, id, updated_at, note)"
            " VALUES ('a', 3, '2026-01-01Z', 'newest') RETURNING id"
        )
        replay = ("replay", shop.yaml, "--config", shop.config, "--schema", SCHEMA)
        first = _saasctl(shop, *replay)
        assert first.code == 0, first.told
        assert first.told.splitlines() == [
            "plain: 0 replayed",
            "plain: 3 left: no version says whether they are still the newest; run the stream with"
            " a full refresh",
            "plain: 1 left: the payload is masked or altered; run the stream with a full refresh",
            "things: 6 replayed",
            "things: 2 still bad: bad_type 2",
        ]
        first.assert_singer()
        assert not [message for message in first.messages if message["type"] == "STATE"]
        assert shop.load(first.out).code == 0
        rows = shop.query("SELECT account, id, note FROM shop.things ORDER BY 1, 2")
        kept = {(account, n): note for account, n, note in rows}
        assert sorted(kept) == [(account, n) for account in "ab" for n in (1, 2, 3, 4, 6)]
        assert (kept["a", 3], kept["a", 4], kept["b", 3]) == ("newest", "n a", "n b")
        assert kept["b", 6] == f"key {KEY}"
        second = _saasctl(shop, *replay, "--stream", "things")
        assert second.told.splitlines() == ["things: 0 replayed", "things: 2 still bad: bad_type 2"]
        assert second.out == b""
        again = _saasctl(shop, *replay, "--stream", "things", "--again")
        assert "things: 6 replayed" in again.told
    marked = shop.query(
        "SELECT count(*), count(replayed_at), count(payload) FROM shop._rejects"
        " WHERE stream = 'things'"
    )
    assert marked == [(8, 6, 8)]


def _assert_listed(shop: Pipeline, tap: Done) -> None:
    """`rejects list` says the same of the table and of the tap's output."""
    said = shop.folder / "tap.out"
    said.write_bytes(tap.out)
    shown = _saasctl(shop, "list")
    assert shown.code == 0, shown.told
    lines = [line.split()[:4] for line in shown.out.decode().splitlines()]
    assert lines[:4] == [
        ["stream", "error", "records", "replayed"],
        ["things", "bad_value", "6", "0"],
        ["plain", "bad_value", "4", "0"],
        ["things", "bad_type", "2", "0"],
    ]
    both = [("list", "--json", "--stream", "things"), ("list", "--json", "--stream", "things",
        "--from", said)]  # fmt: skip
    in_table, in_lines = [json.loads(_saasctl(shop, *one).out) for one in both]
    for told in (in_table, in_lines):
        found = {count["error"]: (count["records"], count["replayed"]) for count in told["counts"]}
        assert found == {"bad_value": (6, 0), "bad_type": (2, 0)}
        assert len(told["rejects"]) == 8
        assert {reject["context"]["account"] for reject in told["rejects"]} == {"a", "b"}
        assert sum(reject["masked"] for reject in told["rejects"]) == 2
        assert KEY not in json.dumps(told)
    limited = json.loads(
        _saasctl(shop, "list", "--json", "--error", "bad_type", "--limit", "1").out
    )
    assert [reject["error"] for reject in limited["rejects"]] == ["bad_type"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list",), 9, ("the database has no table _rejects", "run saasctl target prepare first")),
        (("list", "--schema", "no"), 9, ("the schema no has no table _rejects",)),
        (("list", "--from", "no.jsonl"), 2, ("no.jsonl: cannot be read",)),
        (("replay", "sandbox", "--stream", "no"), 2, ('no stream "no"; use one of customers',)),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...], folder: Path, database: str
) -> None:
    shop = Pipeline(folder, "http://127.0.0.1:9", connector(LEARNT), database=database)
    shop.environment |= {"SANDBOX_URL": "http://127.0.0.1:9", "SANDBOX_CLIENT_SECRET": "sec-ret"}
    done = _saasctl(shop, *arguments)
    assert done.code == code, done.told
    assert len(done.told.splitlines()) == 1
    assert [word for word in words if word not in done.told] == []


def test_learnt_types_must_be_known_where_rejects_are_replayed(folder: Path) -> None:
    text = connector(LEARNT) + CHANGES.replace("stream: things", "stream: oddities")
    shop = Pipeline(folder, "http://127.0.0.1:9", text)
    payload = json.dumps({"id": 1, "case": 7, "updated_at": "2025-01-01T00:00:00Z"})
    reject = {"id": "a", "stream": "oddities", "payload": payload, "masked": False}
    kept = [reject, {**reject, "stream": "gone", "id": "b"}]
    kept.append({**reject, "stream": "changes", "id": "c"})
    lines = [{"type": "RECORD", "stream": "_rejects", "record": one} for one in kept]
    said = folder / "tap.out"
    said.write_text("\n".join(map(json.dumps, lines)) + "\n")
    replay = ("replay", shop.yaml, "--config", shop.config, "--from", said)
    unknown = _saasctl(shop, *replay)
    assert (unknown.code, unknown.out) == (0, b"")
    assert unknown.told.splitlines() == [
        "changes: 0 replayed",
        "changes: 1 left: they are events, not records; replay those from the queue or the log",
        "gone: 0 replayed",
        "gone: 1 left: the connector has no such stream",
        "oddities: 0 replayed",
        "oddities: 1 left: the types of the stream are not known here; pass --state, or the home of"
        " its runs",
    ]
    learnt = [["id", "integer"], ["case", "string"], ["updated_at", "date-time"]]
    shop.state.write_text(json.dumps({"bookmarks": {"oddities": {"schema": learnt}}}))
    known = _saasctl(shop, *replay, "--state", shop.state)
    assert "oddities: 1 replayed" in known.told
    assert known.records("oddities") == [
        {"id": 1, "case": None, "case__text": "7", "updated_at": "2025-01-01T00:00:00Z"}
    ]
    (mark,) = known.records("_rejects")
    assert mark.items() >= reject.items()
    assert mark["replayed_at"]
