"""P3: every record is a row, or a reject with its reason; nothing kills the target."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from harness import Pipeline
from sandbox_api import Sandbox, connector

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
