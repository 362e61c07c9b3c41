"""Instants: read, floored, written, in each format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_saas.connector.formats import InstantFormat, normalise_instant, read_instant

instants = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MICROSECOND = timedelta(microseconds=1)


@given(instants, offsets, st.sampled_from(["T", "t", " "]))
def test_instant_is_read_whatever_its_offset(instant: datetime, zone: timezone, t: str) -> None:
    text = instant.astimezone(zone).isoformat().replace("T", t)
    assert read_instant(text) == instant
    assert read_instant(text).tzinfo is UTC


@given(instants)
def test_normalised_instant_is_as_msgspec_writes_it(instant: datetime) -> None:
    text = normalise_instant(instant.isoformat())
    assert json.loads(msgspec.json.encode(instant)) == text
    assert normalise_instant(text) == text


@given(instants, st.text("0123456789", min_size=1, max_size=12))
def test_fraction_is_floored_to_microseconds(instant: datetime, fraction: str) -> None:
    text = instant.strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction}Z"
    floored = instant.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    assert read_instant(text) == floored


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2025-01-01", "2025-01-01T00:00:00Z"),
        ("2025-01-01T10:00", "2025-01-01T10:00:00Z"),
        ("2025-01-01 10:00:00", "2025-01-01T10:00:00Z"),
        ("2025-01-01T10:00:00.120Z", "2025-01-01T10:00:00.120000Z"),
        ("2025-01-01T10:00:00.000000999Z", "2025-01-01T10:00:00Z"),
        ("2025-01-01t10:00:00z", "2025-01-01T10:00:00Z"),
        ("2025-01-01T10:00:00z", "2025-01-01T10:00:00Z"),
        ("2025-01-01T100000.5Z", "2025-01-01T10:00:00.500000Z"),
        ("2025-01-01T10:00:00 +02:00", "2025-01-01T08:00:00Z"),
        ("2025-01-01T10:00:00+0230", "2025-01-01T07:30:00Z"),
        ("2025-01-01 10:00:00 UTC", "2025-01-01T10:00:00Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
    ],
)
def test_liberal_instants_are_normalised(text: str, normal: str) -> None:
    assert normalise_instant(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "20250101",
        "2025-W01-1",
        "2025-02-30",
        "2025-13-01T00:00:00Z",
        "2025-01-01T00:00:60Z",
        "2025-01-01T25:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-02:00",
        "2025-01-01T00:00:00Q",
        "2025-01-01X00:00:00Z",
        "2025-01-01T00:00:00Z and more",
        "10:00:00",
        "٢٠٢٥-01-01T00:00:00Z",
    ],
)
def test_impossible_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date-time|outside the years"):
        normalise_instant(text)


@given(instants)
def test_exact_formats_read_what_they_write(instant: datetime) -> None:
    for name in ("iso8601", "iso8601@Asia/Tokyo", "epoch_us", "%Y-%m-%dT%H:%M:%S.%f%z"):
        form = InstantFormat.parse(name)
        assert form.read(json.loads(json.dumps(form.write(instant)))) == instant


@given(
    instants,
    st.sampled_from(["epoch_s", "epoch_ms", "date", "%Y-%m-%d %H:%M", "%d/%m/%Y@Asia/Tokyo"]),
)
def test_coarse_format_writes_the_floor(instant: datetime, name: str) -> None:
    grains = {"epoch_s": timedelta(seconds=1), "epoch_ms": timedelta(milliseconds=1)}
    form = InstantFormat.parse(name)
    floor = form.read(form.write(instant))
    grain = grains.get(name, timedelta(minutes=1) if "%H" in name else timedelta(days=1))
    assert timedelta() <= instant - floor < grain
    assert form.write(floor) == form.write(instant)


@given(st.integers(-62_000_000_000, 250_000_000_000), st.integers(0, 999_999_999))
def test_epoch_of_any_precision_is_floored(seconds: int, nanoseconds: int) -> None:
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=seconds, microseconds=nanoseconds // 1000
    )
    number = Decimal(seconds) + Decimal(nanoseconds).scaleb(-9)
    form = InstantFormat.parse("epoch_s")
    assert form.read(number) == expected
    assert form.read(format(number, "f")) == expected
    assert InstantFormat.parse("epoch_ms").read(number * 1000) == expected


@pytest.mark.parametrize(
    ("name", "value", "instant"),
    [
        ("epoch_s", 1735689600, "2025-01-01T00:00:00Z"),
        ("epoch_s", 1503435956.000247, "2017-08-22T21:05:56.000247Z"),
        ("epoch_s", "1503435956.000247", "2017-08-22T21:05:56.000247Z"),
        ("epoch_s", -0.5, "1969-12-31T23:59:59.500000Z"),
        ("date@Europe/Berlin", "2025-07-01", "2025-06-30T22:00:00Z"),
        ("iso8601@America/New_York", "2025-07-01T00:00:00", "2025-07-01T04:00:00Z"),
        ("iso8601@America/New_York", "2025-07-01T00:00:00Z", "2025-07-01T00:00:00Z"),
        ("%Y%m%d", 20250101, "2025-01-01T00:00:00Z"),
        ("%d.%m.%Y %H:%M@Europe/Berlin", "01.07.2025 12:00", "2025-07-01T10:00:00Z"),
    ],
)
def test_format_reads(name: str, value: Any, instant: str) -> None:
    assert InstantFormat.parse(name).read(value) == read_instant(instant)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("iso8601", "2025-06-30T22:00:00Z"),
        ("iso8601@Europe/Berlin", "2025-07-01T00:00:00+02:00"),
        ("date", "2025-06-30"),
        ("date@Europe/Berlin", "2025-07-01"),
        ("epoch_s", 1751320800),
        ("epoch_ms", 1751320800000),
        ("epoch_us", 1751320800000000),
        ("%d/%m/%Y %H:%M@Europe/Berlin", "01/07/2025 00:00"),
    ],
)
def test_format_writes(name: str, written: Any) -> None:
    form = InstantFormat.parse(name)
    assert str(form) == name
    assert form.write(read_instant("2025-06-30T22:00:00Z")) == written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iso8601", 1735689600),
        ("iso8601", None),
        ("epoch_s", True),
        ("epoch_s", "soon"),
        ("epoch_s", float("nan")),
        ("epoch_s", float("inf")),
        ("epoch_s", "1e400000"),
        ("epoch_ms", 10**40),
        ("epoch_s", None),
        ("%Y", []),
        ("%Y-%m-%d", "2025-02-30"),
    ],
)
def test_value_of_another_format_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of the lines
        InstantFormat.parse(name).read(value)


def test_instant_outside_the_calendar_is_refused() -> None:
    edge = datetime(9999, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        InstantFormat.parse("date@Asia/Tokyo").write(edge)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("iso", "unknown format 'iso'; use one of iso8601, date, epoch_s, epoch_ms, epoch_us"),
        ("date@Mars/Base", "unknown time zone 'Mars/Base'; write one such as Europe/Berlin"),
        ("date@../etc/passwd", "unknown time zone"),
        ("%s", "format '%s' cannot be read"),
        ("%-d.%m.%Y", "cannot be read"),
        (5, "a format is a text such as iso8601, not 5"),
    ],
)
def test_wrong_format_is_one_line(name: Any, line: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the line is the check
        InstantFormat.parse(name)
    assert line in str(raised.value)
