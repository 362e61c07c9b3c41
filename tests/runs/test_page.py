"""The page: well-formed, in itself complete, and its figures are those of the run."""

from __future__ import annotations

import re
from datetime import timedelta
from xml.etree import ElementTree

import msgspec
import pytest
from example_runs import BEGAN, run_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_saas.runs.page import page
from tap_saas.runs.run_file import RunFile
from tap_saas.runs.series import Series

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30)


def tree(text: str) -> ElementTree.Element:
    """The page as XML, which it is as well."""
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def cells(root: ElementTree.Element, table: int) -> list[dict[str, str]]:
    """The rows of a table, by the names of its columns."""
    body = list(root.iter("tbody"))[table]
    return [{td.attrib["data-name"]: td.text or "" for td in row} for row in body]


def test_it_needs_nothing_else(ten_seconds: RunFile) -> None:
    text = page([ten_seconds], [ten_seconds])
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://|\bon\w+=", text)
    assert "prefers-color-scheme: dark" in text


def test_the_tables_hold_the_figures_of_the_run(ten_seconds: RunFile) -> None:
    root = tree(page([ten_seconds], [ten_seconds]))
    orders, events = cells(root, 0)
    assert orders == {
        "stream": "orders", "records": "96", "rejected": "4", "error rate": "4 %",
        "requests": "12", "retries": "1", "took": "10 s", "waited": "4.5 s",
        "watermark from": "2025-02-28T00:00:00Z", "watermark to": "2025-03-01T11:00:00Z",
        "lag": "1 h", "last cursor": "abc", "errors": "bad_date 4, http_429 1", "exit": "0",
    }  # fmt: skip
    assert (events["stream"], events["exit"]) == ("events", "")
    (last,) = cells(root, 1)
    assert (last["run"], last["records"], last["outcome"]) == ("aaaa00000001", "96", "ok")


def test_the_charts_say_what_they_show(ten_seconds: RunFile) -> None:
    root = tree(page([ten_seconds], [ten_seconds]))
    charts = {figure.findtext(".//h3"): figure for figure in root.iter("figure")}
    assert list(charts) == [
        "Records", "Requests", "Waits by cause", "Budgets", "Rejects by type",
        "Answers by status", "Watermark lag",
    ]  # fmt: skip
    waits = "".join(charts["Waits by cause"].itertext())
    assert all(part in waits for part in ("budget 1.5 s", "API 3 s", "target 0 s"))
    rejects = "".join(charts["Rejects by type"].itertext())
    assert "bad_date4" in rejects
    for name in ("Records", "Requests", "Waits by cause", "Budgets"):
        assert charts[name].find(".//svg") is not None
        assert "seconds since the start" in "".join(charts[name].itertext())


def test_why_it_failed_or_ended_early_stands_on_top() -> None:
    run = run_of(exit=5, failures=["orders: 403 <Forbidden>"], incomplete="max_duration is reached")
    root = tree(page([run], [run]))
    said = [p.text for p in root.iter("p") if p.attrib.get("class", "").startswith("said")]
    assert said == ["orders: 403 <Forbidden>", "incomplete: max_duration is reached"]
    assert root.find(".//span[@class='outcome failed']").text == "failed, exit 5"  # type: ignore[union-attr]


def test_the_last_runs_are_columns_in_the_colour_of_their_outcome() -> None:
    runs = [
        run_of(f"{i:012x}", exit=code, started_at=BEGAN + timedelta(hours=i))
        for i, code in enumerate((0, 5, None, 143))
    ]
    root = tree(page(runs[:1], list(reversed(runs))))
    figure = list(root.iter("figure"))[-1]
    assert [rect.attrib["class"] for rect in figure.iter("rect")] == ["c1", "c5", "c6", "c2"]


def nothing_done() -> RunFile:
    """A run that was killed in its first moment."""
    return run_of(
        exit=None, duration_s=0.0, rows_ingested=0, rows_rejected=0, error_rate=0.0, requests=0,
        retries=0, waited_s={}, rejects={}, statuses={}, budgets=[], streams=[], series=Series(),
    )  # fmt: skip


def test_a_run_that_did_nothing_is_a_page_too() -> None:
    root = tree(page([nothing_done()], [nothing_done()]))
    assert "killed or running" in "".join(root.itertext())
    assert not re.search(r"nan|inf\b", ElementTree.tostring(root, encoding="unicode").lower())


@settings(max_examples=40)
@given(TEXT, TEXT, st.dictionaries(TEXT, st.integers(1, 10**9), max_size=30))
def test_any_text_stays_a_text(name: str, line: str, rejects: dict[str, int]) -> None:
    known = run_of(connector=name, failures=[line], rejects=rejects)
    streams = [
        msgspec.structs.replace(row, stream=name, last_cursor=line, incomplete=line)
        for row in known.streams
    ]
    run = msgspec.structs.replace(known, streams=streams)
    root = tree(page([run], [run, run]))
    assert root.findtext(".//h1") == name
    assert cells(root, 0)[0]["stream"] == name


@pytest.mark.parametrize("points", [2, 3, 240])
def test_every_shape_lies_within_its_drawing(points: int) -> None:
    t = [i * 0.25 for i in range(points)]
    run = run_of(
        series=Series(
            t=t, records=[i * i for i in range(points)], rejects=[0] * points,
            requests=list(range(points)), waited_budget_s=t, waited_api_s=[0.0] * points,
            waited_target_s=t,
        ),
        budgets=[],
        duration_s=t[-1],
    )  # fmt: skip
    root = tree(page([run], [run]))
    shapes = [shape for tag in ("polygon", "polyline") for shape in root.iter(tag)]
    assert shapes
    for shape in shapes:
        numbers = [float(n) for n in re.split("[ ,]", shape.attrib["points"])]
        assert min(numbers) >= 0
        assert max(numbers) <= 1_000
