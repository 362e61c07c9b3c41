"""Whatever an API sends, what leaves the tap does not kill the real target."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_saas.sync.columns import Columns
from tap_saas.sync.fast import SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.prepare import Preparer
from tap_saas.sync.shape import Shape
from tap_saas.sync.writer import ENCODER, RecordLines
from target_config.database import libpq_url
from target_config.settings import target_settings

KINDS: dict[str, dict[str, Any]] = {
    "an_integer": {"type": ["integer", "null"]},
    "a_number": {"type": ["number", "null"]},
    "a_decimal": {"type": ["string", "null"], "format": "x-singer.decimal"},
    "a_boolean": {"type": ["boolean", "null"]},
    "a_string": {"type": ["string", "null"]},
    "an_instant": {"type": ["string", "null"], "format": "date-time"},
    "a_date": {"type": ["string", "null"], "format": "date"},
    "a_time": {"type": ["string", "null"], "format": "time"},
    "a_uuid": {"type": ["string", "null"], "format": "uuid"},
    "an_object": {"type": ["object", "null"]},
    "an_array": {"type": ["array", "null"]},
    "anything": {},
}
ODD: list[Any] = [
    None, True, False, 0, -1, 1.0, 1.5, 2**63 - 1, -(2**63), 2**63, 2**70, 1e16, 1e300, 0.1,
    float("nan"), float("inf"), 12345678901234567.25, "", " ", "7", "abc", "a\x00b", "\ud800", "é𝄞",
    "x" * 5_000, "2025-01-01", "2025-02-30", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00+02:00",
    "2025-01-01T00:00:60Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "12:30:00",
    "24:00:00", "25:00", "12:30:00+01:00", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "not-a-uuid",
    [], [1, "a", 2.5, None], [[], [1], [[2]]], ["\x00"], {}, {"a": None}, {"a\x00": "\udfff"},
    {"n": [1e300, float("nan")]}, {"deep": {"deep": [{"x": 2**80}]}}, "\\", '"', "\t\n\r",
    "\\N", "\\.",
]  # fmt: skip


def record(number: int, dice: random.Random) -> dict[str, Any]:
    fields = dice.sample(list(KINDS), dice.randint(1, len(KINDS)))
    return {"id": number, **{name: dice.choice(ODD) for name in fields}}


def shape(*, declared: bool) -> Shape:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, **KINDS}}
    return Shape(
        stream="odd", key=("id",), version=None, incremental=None,
        columns=Columns.declared(schema) if declared else Columns(()),
        declared=schema if declared else None,
    )  # fmt: skip


def lines(pages: list[list[Any]], of: Shape) -> tuple[bytes, int]:
    """The Singer lines of the pages, and how many rows they carry."""
    preparer, out, rows = Preparer(of, Newest(), fast=True), b"", 0
    columns = None
    for page in pages:
        raw = json.dumps(page).encode()
        batch = None
        if preparer.fast is not None:
            try:
                batch = preparer.prepare_fast(preparer.fast.decode(raw), {}, None)
            except SurpriseError:
                batch = None
        if batch is None:
            batch = preparer.prepare(json.loads(raw, parse_float=Decimal), {}, None)
        if batch.columns is not columns:
            columns = batch.columns
            message = {
                "type": "SCHEMA", "stream": "odd", "schema": columns.json_schema(),
                "key_properties": ["id"],
            }  # fmt: skip
            out += ENCODER.encode(message) + b"\n"
        out += RecordLines("odd").encode(batch.rows, "2025-01-01T00:00:00Z")
        rows += len(batch.rows)
        assert len(batch.rows) + len(batch.rejects) == len(page)
    return out, rows


@pytest.mark.parametrize("use_copy", [True, False])
@settings(
    max_examples=3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 10_000), declared=st.booleans())
def test_the_real_target_takes_all_of_it(
    seed: int, declared: bool, use_copy: bool, database: str, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    number = iter(range(10_000))
    pages = [[record(next(number), dice) for _ in range(size)] for size in (1, 5, 60, 3, 1)]
    text, rows = lines(pages, shape(declared=declared))
    config = tmp_path / "target.json"
    more = {"use_copy": use_copy}
    config.write_text(json.dumps(target_settings(database, schema=f"s{seed}", settings=more)))
    command = [str(Path(sys.executable).with_name("target-postgres")), "--config", str(config)]
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute(f'DROP SCHEMA IF EXISTS "s{seed}" CASCADE')
        done = subprocess.run(command, input=text, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        found = connection.execute(f'SELECT count(*) FROM "s{seed}".odd').fetchone()
    assert found == (rows,)
