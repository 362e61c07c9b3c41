"""What the replication key means: bounds, windows, how far the watermark may move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from tap_saas.connector.decoding import decode
from tap_saas.connector.exchange import Request
from tap_saas.connector.incremental import Distance, Incremental, merge, prefix
from tap_saas.connector.units import parse_duration

NOON = datetime(2025, 3, 10, 12, tzinfo=UTC)
REQUEST = Request(url="https://api.example/orders")


def incremental(**options: Any) -> Incremental:
    raw = {"key": {"field": "updated_at"}, **options}
    return msgspec.convert(raw, Incremental, dec_hook=decode)


INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(
    INSTANTS,
    st.timedeltas(timedelta(0), timedelta(days=40)),
    st.sampled_from(["7m", "1h", "90m", "6h", "1d", "7d", "30d"]),
    st.sampled_from([None, "minute", "hour", "day"]),
    st.sampled_from([None, "UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"]),
)
@example(
    datetime(2025, 10, 25, 23, 30, tzinfo=UTC), timedelta(days=3), "1d", "day", "Europe/Berlin"
)
@example(datetime(2011, 12, 29, 23, tzinfo=UTC), timedelta(days=5), "1d", "day", "Pacific/Apia")
@example(datetime(2018, 11, 3, tzinfo=UTC), timedelta(days=3), "1d", "day", "America/Sao_Paulo")
def test_windows_cover_the_range_once_in_order(
    since: datetime, length: timedelta, size: str, align: str | None, zone: str | None
) -> None:
    options = {"window": {"size": size, "align": align}, "zone": zone}
    windows = list(incremental(**options).windows(since, since + length))
    ends = [since]
    for start, end in windows:
        assert isinstance(start, datetime)
        assert isinstance(end, datetime)
        assert start == ends[-1]
        assert start < end
        assert end - start <= parse_duration(size) + timedelta(hours=2)
        ends.append(end)
    assert ends[-1] == since + length


@given(INSTANTS, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]))
def test_aligned_windows_end_at_midnight_of_the_zone(since: datetime, zone: str) -> None:
    options = {"window": {"size": "2d", "align": "day"}, "zone": zone}
    *inner, _ = incremental(**options).windows(since, since + timedelta(days=30))
    for _, end in inner:
        assert isinstance(end, datetime)
        local = end.astimezone(ZoneInfo(zone))
        assert (local.hour, local.minute, local.second) == (0, 0, 0)


def test_windows_are_the_same_for_a_resumed_pass() -> None:
    windows = list(
        incremental(window={"size": "7d", "align": "day"}).windows(NOON, NOON + timedelta(30))
    )
    last = list(
        incremental(window={"size": "7d", "align": "day"}).windows(windows[2][0], windows[-1][1])
    )
    assert last == windows[2:]


def test_windows_of_counters_and_without_a_window_are_one() -> None:
    assert list(incremental().windows(NOON, NOON + timedelta(1))) == [(NOON, NOON + timedelta(1))]
    assert list(incremental(format="counter").windows(3, 9)) == [(3, 9)]
    assert list(incremental().windows(NOON, NOON)) == []


def test_windows_end_with_time() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    windows = list(incremental(window={"size": "30d"}).windows(end - timedelta(days=40), end))
    assert windows[-1][1] == end


INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


@given(INTERVALS, st.randoms())
def test_merging_does_not_ask_for_an_order(intervals: list[tuple[int, int]], random: Any) -> None:
    merged = merge(intervals)
    shuffled = list(intervals)
    random.shuffle(shuffled)
    assert merge(shuffled) == merged
    assert merge(merged) == merged
    inside = {n for start, end in intervals for n in range(start, end)}
    assert {n for start, end in merged for n in range(start, end)} == inside  # type: ignore[arg-type]
    assert all(a[1] < b[0] for a, b in pairwise(merged))  # type: ignore[operator]


@given(INTERVALS, st.integers(0, 30))
def test_the_prefix_has_no_gap(intervals: list[tuple[int, int]], since: int) -> None:
    inside = {n for start, end in intervals for n in range(start, end)}
    end = prefix(since, intervals)
    assert isinstance(end, int)
    assert set(range(since, end)) <= inside
    assert end not in inside


@given(INSTANTS)
def test_a_key_survives_the_state(instant: datetime) -> None:
    kept = incremental()
    assert kept.restore(kept.store(instant)) == instant
    assert str(kept.store(instant)).endswith("Z")


@given(
    st.integers(-(10**20), 10**20) | st.decimals(allow_nan=False, allow_infinity=False, places=6)
)
def test_a_counter_survives_the_state(number: int | Decimal) -> None:
    kept = incremental(format="counter")
    stored = kept.store(kept.read(number))
    assert kept.restore(msgspec.json.decode(msgspec.json.encode(stored))) == number


@pytest.mark.parametrize(
    ("options", "value", "key"),
    [
        ({}, "2025-03-10T13:00:00+01:00", NOON),
        ({"zone": "Europe/Berlin"}, "2025-03-10 13:00", NOON),
        ({"format": "epoch_s"}, 1741608000, NOON),
        ({"format": "epoch_ms"}, "1741608000000", NOON),
        ({"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}, "10.03.2025 13:00", NOON),
        ({"format": "counter"}, 7, 7),
        ({"format": "counter"}, "7", 7),
        ({"format": "counter"}, 7.0, 7),
        ({"format": "counter"}, "1512085950.000216", Decimal("1512085950.000216")),
        ({"format": "text"}, "abc", "abc"),
    ],
)
def test_a_records_key_is_read_in_its_format(options: Any, value: Any, key: Any) -> None:
    assert incremental(**options).read(value) == key


@pytest.mark.parametrize(
    ("format", "value"),
    [
        ("iso8601", 5),
        ("iso8601", "2025-02-30"),
        ("counter", True),
        ("counter", "x"),
        ("counter", float("nan")),
        ("counter", None),
        ("text", 5),
    ],
)
def test_what_is_no_key_is_refused(format: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        incremental(format=format).read(value)


def test_a_pass_begins_before_the_watermark_else_at_the_start_date_else_at_first() -> None:
    kept = incremental(lookback="1h", first="2020-01-01")
    start_date = datetime(2024, 1, 1, tzinfo=UTC)
    assert kept.since(NOON, start_date) == NOON - timedelta(hours=1)
    assert kept.since(None, start_date) == start_date
    assert kept.since(None, None) == datetime(2020, 1, 1, tzinfo=UTC)
    assert incremental().since(None, None) is None
    assert incremental(format="counter", first=5).since(None, start_date) == 5
    assert incremental(format="counter", lookback=3).since(10, None) == 7


def test_the_watermark_keeps_its_distance_from_the_start_of_the_pass() -> None:
    minute = timedelta(minutes=1)
    assert incremental().cap(NOON, NOON) == NOON - minute
    assert incremental().cap(NOON - 2 * minute, NOON) == NOON - 2 * minute
    assert incremental(lag="5m").cap(NOON + minute, NOON) == NOON - 5 * minute
    assert incremental(format="counter").cap(10, NOON) == 10
    assert incremental(format="counter", lag=4).cap(10, NOON) == 6
    assert incremental(format="text").cap("z", NOON) == "z"


def test_an_old_watermark_is_told_from_a_young_one() -> None:
    kept = incremental(retention="30d")
    assert kept.expired(NOON - timedelta(days=31), NOON)
    assert not kept.expired(NOON - timedelta(days=29), NOON)
    assert not incremental().expired(NOON - timedelta(days=3000), NOON)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"start": {"send": "param:a"}}, (("a", "2025-03-10T12:00:00Z"),)),
        ({"start": {"send": "param:a", "exclusive": True}}, (("a", "2025-03-10T11:59:59Z"),)),
        (
            {"start": {"send": "param:a", "exclusive": True}, "precision": "1m"},
            (("a", "2025-03-10T11:59:00Z"),),
        ),
        ({"format": "epoch_s", "start": {"send": "param:a"}}, (("a", "1741608000"),)),
        ({"start": {"send": "param:a", "format": "epoch_ms"}}, (("a", "1741608000000"),)),
        (
            {"start": {"send": "param:a", "format": "date"}, "end": {"send": "param:b"}},
            (("a", "2025-03-10"), ("b", "2025-03-11T12:00:00Z")),
        ),
        (
            {"zone": "Asia/Tokyo", "start": {"send": "param:a", "format": "%Y-%m-%d %H:%M"}},
            (("a", "2025-03-10 21:00"),),
        ),
    ],
)
def test_bounds_are_sent_where_and_as_they_should(options: Any, sent: Any) -> None:
    request = incremental(**options).bound(REQUEST, NOON, NOON + timedelta(days=1))
    assert request.params == sent


def test_counters_are_sent_as_numbers() -> None:
    kept = incremental(format="counter", start={"send": "body:$.after", "exclusive": True})
    body = kept.bound(REQUEST, 10, None).body
    assert body is not None
    assert body.value == {"after": 9}


def test_without_a_start_nothing_is_sent() -> None:
    kept = incremental(start={"send": "param:a"}, end={"send": "param:b"})
    assert kept.bound(REQUEST, None, None) == REQUEST
    assert kept.values(None, None) == {"start": UNSET, "end": UNSET}


def test_placeholders_are_what_is_sent() -> None:
    kept = incremental(start={"exclusive": True})
    assert kept.values(NOON, None)["start"] == NOON - timedelta(seconds=1)


def test_a_parsed_key_is_read_as_rfc_3339_and_sent_as_before() -> None:
    kept = incremental(format="epoch_s", start={"send": "param:a"}).once_parsed()
    assert kept.read("2025-03-10T12:00:00Z") == NOON
    assert kept.bound(REQUEST, NOON, None).params == (("a", "1741608000"),)


@pytest.mark.parametrize(("raw", "value"), [("5m", timedelta(minutes=5)), (7, 7), (0, 0)])
def test_a_distance_is_a_duration_or_a_number(raw: Any, value: Any) -> None:
    assert Distance.parse(raw).value == value


@pytest.mark.parametrize("raw", [-1, True, 1.5, "5", None])
def test_other_distances_are_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Distance.parse(raw)


def test_a_sync_token_is_no_field() -> None:
    key = {"token": "$.next", "send": "param:token", "expired": "status == 410"}
    one = incremental(key=key)
    assert (one.field, one.column) == (None, None)
    assert one.sync_token is not None
    assert str(one.sync_token.send) == "param:token"
    assert incremental().sync_token is None
