"""The list of hard cases says for each record what must become of it."""

from __future__ import annotations

import math

from .conftest import Api, digest, walk


def test_every_record_has_a_verdict(api: Api) -> None:
    records = api.read("/oddities", limit=500)["data"]
    verdicts = api.read("/_truth", stream="oddities")["verdicts"]
    assert [r["case"] for r in records] == [v["case"] for v in verdicts]
    assert len({v["case"] for v in verdicts}) == len(verdicts) >= 40
    assert {v["expect"] for v in verdicts} == {"row", "reject", "stale"}
    assert all(v["why"] for v in verdicts)


def test_truth_counts_the_rows_alone(api: Api) -> None:
    truth = api.read("/_truth", stream="oddities", full=1)
    records = {r["case"]: r for r in api.read("/oddities", limit=500)["data"]}
    rows = [v for v in truth["verdicts"] if v["expect"] == "row"]
    pairs = [(str(v["id"]), records[v["case"]]["updated_at"]) for v in rows]
    assert truth["count"] == len(rows) == len(truth["records"])
    assert truth["digest"] == digest(pairs)


def test_hard_cases_are_raw_in_the_json(api: Api) -> None:
    raw = api.get("/oddities", limit=500).content
    for text in (
        b"before\\u0000after",
        b"x\\ud800y",
        b'"amount":NaN',
        b'"amount":12345678901234567.891',
        b'"count":9223372036854775808',
        b'"count":1.0,',
        b'"id":null',
        b'"2025-02-30T12:00:00Z"',
        '"größe":7'.encode(),
    ):
        assert text in raw, text


def test_keys_are_null_missing_or_wrong_in_the_rejects(api: Api) -> None:
    records = {r["case"]: r for r in api.read("/oddities", limit=500)["data"]}
    assert records["null_key"]["id"] is None
    assert "id" not in records["missing_key"]
    assert records["text_for_key"]["id"] == "seven"
    assert math.isnan(records["nan"]["amount"])


def test_older_version_of_a_key_comes_later(api: Api) -> None:
    records = api.read("/oddities", limit=500)["data"]
    found = [r for r in records if r["case"] in {"newest_of_two", "older_of_two"}]
    assert [r["case"] for r in found] == ["newest_of_two", "older_of_two"]
    assert found[0]["id"] == found[1]["id"]
    assert found[0]["updated_at"] > found[1]["updated_at"]


def test_oddities_are_walked_like_any_list(api: Api) -> None:
    whole = [r["case"] for r in api.read("/oddities", limit=500)["data"]]
    for kind in ("cursor", "page", "offset", "next", "link"):
        assert [r["case"] for page in walk(api, kind, "/oddities", 7) for r in page] == whole
    by_id = [r["id"] for page in walk(api, "seek", "/oddities", 7, sort="id") for r in page]
    assert by_id == sorted(set(by_id))
    assert len(by_id) == len(whole) - 4
