"""Pages into batches: the two lanes agree, bad records are kept, the schema grows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.incremental import Incremental, ReplicationKey
from tap_saas.connector.jsonpath import Path
from tap_saas.errors import ApiError, RejectRatioError
from tap_saas.sync.columns import Column, Columns
from tap_saas.sync.fast import SurpriseError
from tap_saas.sync.newest import Newest
from tap_saas.sync.prepare import Preparer
from tap_saas.sync.rejects import Ledger
from tap_saas.sync.shape import Batch, Shape
from tap_saas.sync.writer import ENCODER

DECLARED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": ["integer", "null"]},
        "amount": {"type": ["number", "null"]},
        "name": {"type": ["string", "null"]},
        "on": {"type": ["boolean", "null"]},
        "updated_at": {"type": ["string", "null"], "format": "date-time"},
        "tags": {"type": ["array", "null"], "items": {"type": "string"}},
        "address": {
            "type": ["object", "null"],
            "properties": {"zip": {"type": ["string", "null"]}},
        },
    },
}
INCREMENTAL = Incremental(key=ReplicationKey(field=Path.parse("updated_at")), order="none")


def shape(**more: Any) -> Shape:
    return Shape(
        **{
            "stream": "orders",
            "columns": Columns.declared(DECLARED),
            "key": ("id",),
            "version": "updated_at",
            "incremental": INCREMENTAL,
            "declared": DECLARED,
            **more,
        }
    )


def by_dicts(records: list[Any], of: Shape | None = None, constant: Any = None) -> Batch:
    return Preparer(of or shape(), Newest(), fast=False).prepare(records, constant or {}, None)


TEXTS = st.text(st.characters(codec=None), max_size=4)
INSTANTS = st.one_of(
    st.sampled_from([
        "", "2025-02-30T00:00:00Z", "2025-01-01T00:00:00+02:00", "2025-01-01",
        "2025-W01-1T00:00:00Z", "2025-01-01T00:00:00.123456789Z", "2025-01-01T00:00:00.5Z",
        "2025-01-01x00:00:00Z",
    ]),
    st.datetimes().map(lambda d: d.isoformat() + "Z"),
    st.none(),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.just(1e16), st.none(), st.just("7")
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"id": st.one_of(st.integers(0, 3), st.just(2**63), st.just(4.0), st.none())},
        optional={
            "amount": NUMBERS,
            "name": st.one_of(TEXTS, st.none(), st.integers(0, 1)),
            "on": st.one_of(st.booleans(), st.none(), st.just(1)),
            "updated_at": INSTANTS,
            "tags": st.one_of(st.lists(TEXTS, max_size=2), st.none(), st.just([1])),
            "address": st.one_of(
                st.none(), st.fixed_dictionaries({"zip": TEXTS}), st.just({"x": 1})
            ),
            "surprise": st.one_of(st.none(), st.integers(), TEXTS),
        },
    ),
    max_size=6,
)
ZONES = st.sampled_from(["Z", "+00:00", "+01:00", "-11:30", "z", ""])
TAME = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 3),
            "amount": st.integers(-(10**20), 10**20) | st.floats(-1e9, 1e9),
            "updated_at": st.builds(
                lambda at, timespec, zone: at.isoformat(timespec=timespec) + zone,
                st.datetimes(datetime(1971, 1, 2), datetime(2100, 1, 1)),
                st.sampled_from(["seconds", "milliseconds", "microseconds"]),
                ZONES,
            ),
        }
    ),
    max_size=4,
)
"""Records of which most fit, and that are all of one form now and then."""


def canonical(rows: list[Any]) -> list[Any]:
    return [json.loads(ENCODER.encode(row), parse_float=Decimal) for row in rows]


@given(RECORDS | TAME)
def test_the_lanes_agree(records: list[Any]) -> None:
    raw = json.dumps(records).encode()
    fast = Preparer(shape(), Newest(), fast=True)
    assert fast.fast is not None
    try:
        structs = fast.fast.decode(raw)
    except SurpriseError:
        return
    batch = fast.prepare_fast(structs, {}, None)
    if batch is None:
        return
    slow = by_dicts(json.loads(raw, parse_float=Decimal))
    assert slow.rejects == []
    assert canonical(batch.rows) == canonical(slow.rows)
    assert (batch.max_seen, batch.min_seen, batch.stale) == (
        slow.max_seen,
        slow.min_seen,
        slow.stale,
    )


@given(RECORDS)
def test_no_record_is_lost(records: list[Any]) -> None:
    batch = by_dicts(json.loads(json.dumps(records), parse_float=Decimal))
    assert len(batch.rows) + len(batch.rejects) + batch.stale == len(records)
    for row in batch.rows:
        text = ENCODER.encode(row)
        json.loads(text, parse_constant=lambda constant: pytest.fail(constant))
        assert b"\\u0000" not in text


def test_plain_pages_take_the_fast_lane() -> None:
    fast = Preparer(shape(), Newest(), fast=True)
    assert fast.fast is not None
    raw = (
        b'[{"id":1,"amount":1.50,"updated_at":"2025-01-01T00:00:00Z"},'
        b'{"id":2,"updated_at":"2025-01-01T02:00:00+02:00"}]'
    )
    batch = fast.prepare_fast(fast.fast.decode(raw), {}, None)
    assert batch is not None
    assert [json.loads(ENCODER.encode(row)) for row in batch.rows] == [
        {"id": 1, "amount": 1.5, "updated_at": "2025-01-01T00:00:00Z"},
        {"id": 2, "updated_at": "2025-01-01T00:00:00Z"},
    ]


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2025-01-01T00:00:00.250Z", "2025-01-01T00:00:00.250000Z"),
        ("2025-01-01T00:00:00.000Z", "2025-01-01T00:00:00Z"),
        ("2025-01-01T00:00:00.000000Z", "2025-01-01T00:00:00Z"),
        ("2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:00.000001Z"),
        ("2025-01-01T00:00:00+00:00", "2025-01-01T00:00:00Z"),
    ],
)
def test_a_page_whose_instants_are_all_of_one_form(came: str, goes: str) -> None:
    fast = Preparer(shape(), Newest(), fast=True)
    assert fast.fast is not None
    raw = json.dumps([{"id": n, "updated_at": came} for n in range(3)] + [{"id": 3}]).encode()
    batch = fast.prepare_fast(fast.fast.decode(raw), {}, None)
    assert batch is not None
    assert [row.get("updated_at") for row in canonical(batch.rows)] == [goes, goes, goes, None]


def test_the_partition_fills_what_the_record_lacks() -> None:
    columns = Columns.declared(DECLARED).with_([Column("account", "account", "string")])
    of = shape(columns=columns, constant=("account",))
    fast = Preparer(of, Newest(), fast=True)
    assert fast.fast is not None
    batch = fast.prepare_fast(
        fast.fast.decode(b'[{"id":1},{"id":2,"account":"own"}]'), {"account": "a"}, None
    )
    assert batch is not None
    slow = by_dicts([{"id": 1}, {"id": 2, "account": "own"}], of, {"account": "a"})
    expected = [{"id": 1, "account": "a"}, {"id": 2, "account": "own"}]
    assert [json.loads(ENCODER.encode(row)) for row in batch.rows] == expected
    assert slow.rows == expected


BAD: list[tuple[Any, str, str]] = [
    (7, "not_object", ""),
    ({"id": None}, "bad_key", "/id"),
    ({}, "bad_key", "/id"),
    ({"id": 1, "updated_at": "soon"}, "bad_date", "/updated_at"),
    ({"id": 1, "name": 5}, "bad_type", "/name"),
    ({"id": 2**63}, "out_of_range", "/id"),
    ({"id": 1, "": 1}, "bad_name", ""),
    ({"id": 1, "tags": [1]}, "bad_type", "/tags/0"),
]


@pytest.mark.parametrize(("record", "error", "pointer"), BAD)
def test_a_bad_record_is_kept_with_its_reason(record: Any, error: str, pointer: str) -> None:
    batch = by_dicts([{"id": 9}, record])
    assert batch.rows == [{"id": 9}]
    assert [(r.error, r.pointer, r.payload) for r in batch.rejects] == [(error, pointer, record)]


def learning() -> Shape:
    return shape(columns=Columns(()), declared=None)


def test_a_learnt_schema_grows_and_keeps_what_contradicts_it() -> None:
    preparer = Preparer(learning(), Newest(), fast=True)
    first = [{"id": 1, "size": 5, "updated_at": "2025-01-01T00:00:00Z", "odd": None}]
    assert preparer.prepare(first, {}, None).rows[0]["size"] == 5
    batch = preparer.prepare([{"id": 2, "size": "XL", "odd": [1]}], {}, None)
    assert batch.rows == [{"id": 2, "size": None, "size__text": "XL", "odd": [1]}]
    assert batch.contradicted == 1
    kinds = {c.name: c.kind for c in batch.columns.by_name.values()}
    assert kinds == {
        "id": "integer",
        "size": "number",
        "updated_at": "date-time",
        "odd": "array",
        "size__text": "text",
    }


def test_money_with_many_digits_widens_its_column() -> None:
    batch = by_dicts(
        [{"id": 1, "amount": Decimal("1.5")}, {"id": 2, "amount": Decimal("1234567890123456.78")}]
    )
    assert batch.rows[1]["amount"] == "1234567890123456.78"
    assert batch.columns.by_name["amount"].kind == "decimal"


def test_after_widening_the_rows_of_the_same_page_are_texts_too() -> None:
    batch = by_dicts(
        [{"id": 1, "amount": Decimal("1.5")}, {"id": 2, "amount": Decimal("1234567890123456.78")}]
    )
    assert batch.rows[0]["amount"] == "1.5"


def test_on_new_field_fail_names_the_field() -> None:
    with pytest.raises(ApiError, match="new fields: extra"):
        by_dicts([{"id": 1, "extra": 1}], shape(on_new_field="fail"))


def test_on_new_field_ignore_drops_it() -> None:
    assert by_dicts([{"id": 1, "extra": 1}], shape(on_new_field="ignore")).rows == [{"id": 1}]


def test_on_invalid_fail_keeps_the_record_and_says_why() -> None:
    ledger = Ledger("orders", "run", str, 1.0, "fail")
    batch = by_dicts([{"id": 1, "name": 5}])
    assert not ledger.is_over
    assert len(ledger.rows(batch.rejects, "2025-01-01T00:00:00Z", {})) == 1
    with pytest.raises(RejectRatioError, match="/name"):
        ledger.judge()


def test_an_older_version_on_a_later_page_is_dropped() -> None:
    preparer = Preparer(shape(), Newest(), fast=False)
    newer = {"id": 1, "updated_at": "2025-01-02T00:00:00Z"}
    older = {"id": 1, "updated_at": "2025-01-01T00:00:00.5Z"}
    assert preparer.prepare([newer], {}, None).rows
    batch = preparer.prepare([older], {}, None)
    assert (batch.rows, batch.stale) == ([], 1)


ZONES = st.sampled_from([timezone(timedelta(minutes=m)) for m in (0, 120, -210, 345)])
PLACES = st.permutations([None, *range(0, 3_600_000_000, 599_999_999)])
CUTS = st.lists(st.integers(0, 8), max_size=3)


@pytest.mark.parametrize("fast", [True, False])
@given(order=PLACES, zones=st.lists(ZONES, min_size=8, max_size=8), cuts=CUTS)
def test_the_newest_is_the_last_in_whatever_order_and_zone_versions_come(
    fast: bool, order: list[int | None], zones: list[timezone], cuts: list[int]
) -> None:
    first = datetime(2025, 1, 1, tzinfo=UTC)
    instants = [None if one is None else first + timedelta(microseconds=one) for one in order]
    records = [
        {"id": 1, "updated_at": at and at.astimezone(zone).isoformat()}
        for at, zone in zip(instants, zones, strict=True)
    ]
    preparer = Preparer(shape(), Newest(), fast=fast)
    rows: list[Any] = []
    for start, end in pairwise([0, *sorted(cuts), len(records)]):
        page = records[start:end]
        if preparer.fast is None:
            batch: Batch | None = preparer.prepare(page, {}, None)
        else:
            structs = preparer.fast.decode(json.dumps(page).encode())
            batch = preparer.prepare_fast(structs, {}, None)
        assert batch is not None
        rows += canonical(batch.rows)
    newest = max(at for at in instants if at is not None)
    assert datetime.fromisoformat(rows[-1]["updated_at"]) == newest


def test_rows_are_json() -> None:
    batch = by_dicts([{"id": 1, "amount": Decimal("1.50")}])
    assert msgspec.json.decode(ENCODER.encode(batch.rows[0])) == {"id": 1, "amount": 1.5}
