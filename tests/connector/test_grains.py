"""How exactly an instant is given: where the time that a written one means ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_saas.connector.formats import InstantFormat

MICROSECOND = timedelta(microseconds=1)
FORMATS = [
    "epoch_s",
    "epoch_ms",
    "epoch_us",
    "date",
    "date@Europe/Berlin",
    "date@Pacific/Apia",
    "%Y-%m-%d %H:%M:%S.%f",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%dT%H:%M@Asia/Kolkata",
    "%Y%m%d%H",
    "%d/%m/%Y@America/New_York",
    "%Y-%m",
    "%B %Y@Europe/Berlin",
    "%Y",
    "%G-W%V-%u",
]
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@given(INSTANTS, st.sampled_from(FORMATS))
@example(datetime(2011, 12, 30, 9, tzinfo=UTC), "date@Pacific/Apia")
@example(datetime(2025, 3, 30, 12, tzinfo=UTC), "date@Europe/Berlin")
def test_it_ends_right_before_the_next_one(instant: datetime, text: str) -> None:
    form = InstantFormat.parse(text)
    value = form.write(instant)
    end = form.read_end(value)
    assert form.read(value) <= instant <= end
    assert form.write(end) == value
    assert form.write(end + MICROSECOND) != value


@given(INSTANTS, st.integers(0, 9), st.sampled_from(["Z", "+02:00", "", " UTC"]))
def test_the_digits_of_a_fraction_count(instant: datetime, digits: int, zone: str) -> None:
    fraction = f"{instant.microsecond:06}000"[:digits]
    text = f"{instant:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{fraction}{zone}"
    form = InstantFormat.parse("iso8601")
    length = form.read_end(text) - form.read(text) + MICROSECOND
    assert length == max(timedelta(seconds=1) / 10**digits, MICROSECOND)


@pytest.mark.parametrize(
    ("text", "value", "end"),
    [
        ("iso8601", "2025-01-31T08:30:00Z", "2025-01-31T08:30:00.999999"),
        ("iso8601", "2025-01-31 08:30:00.1234567z", "2025-01-31T08:30:00.123456"),
        ("iso8601", "2025-01-31T08:30+02:00", "2025-01-31T06:30:59.999999"),
        ("iso8601", "2025-01-31T08", "2025-01-31T08:59:59.999999"),
        ("iso8601", "2025-01-31", "2025-01-31T23:59:59.999999"),
        ("iso8601", "9999-12-31", "9999-12-31T23:59:59.999999"),
        ("date@Europe/Berlin", "2025-03-30", "2025-03-30T21:59:59.999999"),
        ("epoch_s", 1_700_000_000, "2023-11-14T22:13:20.999999"),
        ("epoch_s", 1_700_000_000.0, "2023-11-14T22:13:20.999999"),
        ("epoch_s", "1700000000.25", "2023-11-14T22:13:20.259999"),
        ("epoch_s", "1.7e9", "2023-11-14T22:13:20.999999"),
        ("epoch_ms", 1_700_000_000_123, "2023-11-14T22:13:20.123999"),
        ("epoch_us", 1_700_000_000_123_456, "2023-11-14T22:13:20.123456"),
        ("%Y-%m-%d %H:%M:%S.%f", "2025-01-31 10:00:00.5", "2025-01-31T10:00:00.599999"),
        ("%H:%M %z on %Y-%m-%d", "10:00 +0200 on 2025-01-31", "2025-01-31T08:00:59.999999"),
    ],
)
def test_ends(text: str, value: Any, end: str) -> None:
    assert InstantFormat.parse(text).read_end(value) == datetime.fromisoformat(end + "+00:00")


@pytest.mark.parametrize(("text", "value"), [("iso8601", "soon"), ("epoch_s", "x"), ("%Y", 5)])
def test_what_is_no_instant_has_no_end(text: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not"):
        InstantFormat.parse(text).read_end(value)
