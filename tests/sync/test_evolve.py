"""A schema that grows and drifts: whatever comes, every value has a place."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from drift import Runs, is_readable
from hypothesis import example, given
from hypothesis import strategies as st

from tap_saas.errors import ApiError
from tap_saas.sync.columns import MORE, MOST_COLUMNS, Columns
from target_config.columns import column_type

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats()
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
    | st.sampled_from([Decimal("1e200000"), 10**400, "2025-01-01T00:00:00Z", "5", "-0.0", ""])
    | st.text(st.characters(codec=None), max_size=3)
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab\x00"), inner, max_size=2)
    ),
    max_leaves=4,
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["v", "w", "v__text", MORE]), JSON, max_size=3), max_size=8
)
OWN = {"v__text"}
CUTS = st.lists(st.sampled_from(["same page", "page", "run"]), min_size=8, max_size=8)


def feed(runs: Runs, records: list[dict[str, Any]], cuts: list[str]) -> None:
    """The records in pages and runs, cut as `cuts` say after each."""
    page: list[Any] = []
    for record, cut in zip(records, cuts, strict=False):
        page.append(record)
        if cut != "same page":
            runs.page(page)
            page = []
        if cut == "run":
            runs.begin()
    runs.page(page)


@given(RECORDS, CUTS)
@example([{"v": 1}, {"v": "one", "v__text": "own"}], ["page"] * 8)
@example([{MORE: []}, {"v": 1, MORE: {}}, {"v": 2, MORE: {"v": 3}}], ["page"] * 8)
@example([{"v": "a"}, {"v": float("nan")}], ["page"] * 8)
def test_any_values_in_any_pages_and_runs_stay_readable(
    records: list[Any], cuts: list[str]
) -> None:
    records = [{"id": number, **record} for number, record in enumerate(records)]
    runs = Runs()
    feed(runs, records, cuts)
    assert runs.rejects == []
    rows = {row["id"]: row for row in runs.rows}
    for record in records:
        row = rows[record["id"]]
        ours = {name: value for name, value in row.items() if name not in record.keys() & OWN}
        for name in record.keys() - {"id", MORE, "v__text"}:
            assert is_readable(ours, name, record[name]), (name, record, row)
        # A field that is called like a column of ours loses nothing either.
        assert "v__text" not in record or is_readable(row, "v__text", record["v__text"]), row
        held = (row.get(MORE) or {}).get(MORE)
        assert is_readable({MORE: {"x": held}}, "x", record.get(MORE)), row


@given(RECORDS, CUTS)
def test_no_column_ever_changes_its_type_in_the_database(
    records: list[Any], cuts: list[str]
) -> None:
    runs = Runs()
    feed(runs, [{"id": number, **record} for number, record in enumerate(records)], cuts)
    types: dict[str, Any] = {}
    for schema in runs.schemas:
        for name, facts in schema["properties"].items():
            assert types.setdefault(name, column_type(facts)) == column_type(facts)


@given(st.lists(st.fixed_dictionaries({"id": JSON, "at": JSON}), max_size=6), CUTS)
def test_any_key_and_version_gives_a_row_or_a_reject(records: list[Any], cuts: list[str]) -> None:
    runs = Runs(version="at")
    feed(runs, records, cuts)
    assert len(runs.rows) + len(runs.rejects) + runs.stale == len(records)
    for row in runs.rows:
        assert row["id"] is not None
    assert all(reject.error and reject.message for reject in runs.rejects)


DRIFT: list[tuple[list[Any], str, list[Any]]] = [
    ([1, 2.5, Decimal("1234567890123456.78"), "many"], "decimal", ["many"]),
    ([True, "yes", 0], "boolean", ["yes", "0"]),
    (["a", 5, {"b": 1}, [1]], "string", ["5", '{"b":1}', "[1]"]),
    ([{"a": 1}, [1], "a", False], "object", ["[1]", "a", "false"]),
    ([[1], {"a": 1}, 1.5], "array", ['{"a":1}', "1.5"]),
    (["2025-01-01", "2025-13-45", "soon"], "string", []),
    ([None, None, 7, "seven"], "number", ["seven"]),
    ([2**60, "12"], "decimal", ["12"]),
]


@pytest.mark.parametrize(("values", "kind", "beside"), DRIFT)
def test_what_contradicts_a_learnt_type_is_kept_beside_it(
    values: list[Any], kind: str, beside: list[Any]
) -> None:
    runs = Runs()
    for number, value in enumerate(values):
        columns = runs.page([{"id": number, "v": value}]).columns
        runs.begin()
    assert columns.by_name["v"].kind == kind
    assert [row["v__text"] for row in runs.rows if row.get("v__text")] == beside
    assert runs.contradicted == len(beside)


def test_a_first_bad_key_or_version_spoils_nothing() -> None:
    runs = Runs(version="at")
    runs.page([{"id": {"a": 1}, "at": "soon"}, {"id": 1, "at": "soon"}, {"id": [], "at": AT}])
    runs.page([{"id": 1, "at": AT}, {"id": "k" * 3_000, "at": AT}])
    assert [row["id"] for row in runs.rows] == [1]
    errors = [reject.error for reject in runs.rejects]
    assert errors == ["bad_type", "bad_date", "bad_type", "bad_type"]


def test_a_key_that_no_index_takes_is_a_reject_in_both_lanes() -> None:
    runs = Runs()
    runs.page([{"id": "a"}])
    runs.page([{"id": "b"}])
    assert runs.fast_pages == 1
    runs.page([{"id": "k" * 2_501}, {"id": "k" * 2_500}])
    assert [(reject.error, reject.pointer) for reject in runs.rejects] == [("bad_key", "")]
    assert [len(row["id"]) for row in runs.rows] == [1, 1, 2_500]


AT = "2025-01-01T00:00:00Z"


def test_versions_that_need_a_decimal_are_still_compared() -> None:
    runs = Runs(version="at")
    runs.page([{"id": 1, "at": 10}])
    runs.page([{"id": 1, "at": 9}, {"id": 2, "at": 10**18 + 1}])
    runs.page([{"id": 2, "at": 10**18}, {"id": 1, "at": 11}])
    found = [(row["id"], row["at"]) for row in runs.rows]
    assert found == [(1, 10), (2, "1000000000000000001"), (1, "11")]
    assert runs.stale == 2


def test_a_field_that_is_null_at_first_costs_the_fast_lane_one_page() -> None:
    runs = Runs()
    for number in range(4):
        runs.page([{"id": number, "later": None}])
    assert runs.fast_pages == 3
    assert all(row.keys() == {"id"} for row in runs.rows)
    runs.page([{"id": 9, "later": 5}])
    assert runs.rows[-1] == {"id": 9, "later": 5}
    runs.page([{"id": 10, "later": 6}])
    assert runs.fast_pages == 4


def test_new_fields_of_a_page_are_announced_once() -> None:
    runs = Runs()
    for page in range(5):
        runs.page([{"id": n, f"field_{n}": n} for n in range(page * 20, page * 20 + 20)])
    assert len(runs.schemas) == 5
    assert len(runs.schemas[-1]["properties"]) == 101


def test_identifiers_as_names_do_not_explode_a_table() -> None:
    runs = Runs()
    for page in range(30):
        numbers = range(page * 50, page * 50 + 50)
        runs.page([{"id": n, f"user_{n}": {"seen": n}, "size": n} for n in numbers])
    properties = runs.schemas[-1]["properties"]
    assert len(properties) == MOST_COLUMNS + 1  # and _more_fields
    assert len(runs.schemas) <= 7
    assert all(row["size"] == row["id"] for row in runs.rows)
    for row in runs.rows:
        assert is_readable(row, f"user_{row['id']}", {"seen": row["id"]})
    assert runs.gathered == 1_500 - (MOST_COLUMNS - 2)


def test_where_there_is_room_for_some_fields_common_ones_get_it() -> None:
    runs = Runs()
    runs.page([{"id": n, f"a_{n}": n, "zone": "z"} for n in range(MOST_COLUMNS + 10)])
    assert "zone" in runs.schemas[-1]["properties"]
    assert all(row["zone"] == "z" for row in runs.rows)


def test_a_value_that_contradicts_its_type_is_kept_without_room_for_a_column() -> None:
    runs = Runs()
    runs.page([{"id": 1, **{f"f{n}": n for n in range(MOST_COLUMNS)}}])
    runs.page([{"id": 2, "f1": "one"}])
    assert runs.rows[1] == {"id": 2, "f1": None, MORE: {"f1": "one"}}


def test_on_new_field_ignore_keeps_the_fast_lane_and_leaves_new_fields_out() -> None:
    known = Columns(()).with_learnt([["id", "integer"], ["v", "number"]])
    runs = Runs(on_new_field="ignore", columns=known)
    runs.page([{"id": 1, "v": 2, "new": {"a": [1]}, "": 1, "_sdc_x": 3}])
    assert runs.rows == [{"id": 1, "v": 2}]
    assert runs.fast_pages == 1
    runs.page([{"id": 2, "v": "two", "new": 1}])
    assert runs.rows[1] == {"id": 2, "v": None, "v__text": "two"}


def test_on_new_field_fail_waits_for_a_value() -> None:
    known = Columns(()).with_learnt([["id", "integer"]])
    runs = Runs(on_new_field="fail", columns=known)
    runs.page([{"id": 1, "new": None}])
    with pytest.raises(ApiError, match="odd: the records have new fields: new; add"):
        runs.page([{"id": 2, "new": 0}])


def test_what_selection_leaves_out_does_not_come_back_beside() -> None:
    runs = Runs(dropped=frozenset({"v"}))
    runs.page([{"id": 1, "v": 5}])
    runs.page([{"id": 2, "v": "secret"}])
    runs.page([{"id": 3, "v": 6}])
    assert runs.rows == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert all("v__text" not in schema["properties"] for schema in runs.schemas)


def test_a_long_field_keeps_the_column_that_a_catalog_knows_by_its_short_name() -> None:
    long = "f" * 80
    first = Runs()
    first.page([{"id": 1, long: 5}])
    (short,) = first.schemas[0]["properties"].keys() - {"id"}
    runs = Runs(columns=Columns(()).with_learnt([["id", "integer"], [short, "number"]]))
    runs.page([{"id": 2, long: 6}, {"id": 3, long: "six"}])
    assert [row.get(short) for row in runs.rows] == [6, None]
    assert runs.contradicted == 1


def test_a_declared_schema_is_checked_whole_in_both_lanes() -> None:
    declared = {
        "type": "object",
        "properties": {"id": {"type": "integer"}, "v": {"type": "integer"}},
        "not": {"required": ["v"], "properties": {"v": {"const": 7}}},
    }
    runs = Runs(declared=declared, columns=Columns.declared(declared))
    runs.page([{"id": 1, "v": 6}, {"id": 2, "v": 7}])
    assert [row["id"] for row in runs.rows] == [1]


def test_a_declared_schema_that_allows_no_other_field_takes_a_partition_s_values() -> None:
    declared = {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "additionalProperties": False,
    }
    columns = Columns.declared(declared)
    runs = Runs(declared=declared, columns=columns, constant=("account",))
    batch = runs._preparer.prepare([{"id": 1}, {"id": 2, "x": 1}], {"account": "a"}, None)
    assert batch.rows == [{"account": "a", "id": 1}]
    assert [reject.payload for reject in batch.rejects] == [{"id": 2, "x": 1}]
