"""Moments, and their RFC 3339 form."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.clock import (
    HOUR,
    SECOND,
    ManualClock,
    SystemClock,
    day_of,
    end_of_month,
    format_rfc3339,
    month_of,
    parse_rfc3339,
)

FIRST = -62_135_596_800 * SECOND
LAST = 253_402_300_800 * SECOND - 1
moments = st.integers(FIRST, LAST)


@given(moments)
def test_a_moment_survives_its_text(moment):
    assert parse_rfc3339(format_rfc3339(moment)) == moment


@given(moments)
def test_the_text_agrees_with_the_calendar(moment):
    there = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    text = there.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert format_rfc3339(moment) == text
    assert (day_of(moment), month_of(moment)) == (text[:10], text[:7])


@given(moments, moments)
def test_text_order_is_time_order(one, other):
    assert (one < other) == (format_rfc3339(one) < format_rfc3339(other))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        # The examples of RFC 3339 §5.8.
        ("1985-04-12T23:20:50.52Z", 482_196_050_520_000),
        ("1996-12-19T16:39:57-08:00", 851_042_397_000_000),
        ("1990-12-31T23:59:60Z", 662_688_000_000_000),
        ("1990-12-31T15:59:60-08:00", 662_688_000_000_000),
        ("1937-01-01T12:00:27.87+00:20", -1_041_337_172_130_000),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01 00:00:00-00:00", 0),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("2024-02-29T00:00:00.000000Z", 1_709_164_800_000_000),
    ],
)
def test_reads_what_the_rfc_allows(text, moment):
    assert parse_rfc3339(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-01-01T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-02-30T00:00:00.000000Z",
        "2026-W01-1T00:00:00.000000Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T24:00:00.000000Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59.999999-00:01",
        "9999-12-31T23:59:60Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "1767225600",
    ],
)
def test_refuses_everything_else_without_repeating_it(text):
    with pytest.raises(ValueError, match=r"date-time|range|no such|outside") as refused:
        parse_rfc3339(text)
    assert not text or text not in str(refused.value)


@given(st.text())
def test_any_text_is_a_moment_or_a_value_error(text):
    try:
        moment = parse_rfc3339(text)
    except ValueError:
        return
    assert FIRST <= moment <= LAST
    assert parse_rfc3339(format_rfc3339(moment)) == moment


def test_the_manual_clock_moves_only_by_hand():
    clock = ManualClock(5 * SECOND)
    assert (clock.now(), clock.now()) == (5 * SECOND, 5 * SECOND)
    assert clock.advance(1.5) == clock.now() == 6_500_000
    clock.set(HOUR)
    assert clock.now() == HOUR


def test_the_system_clock_tells_the_machines_time():
    before = datetime.now(UTC)
    told = parse_rfc3339(before.isoformat()), SystemClock().now(), parse_rfc3339(datetime.now(UTC).isoformat())
    assert list(told) == sorted(told)


@pytest.mark.parametrize(
    ("month", "end"),
    [
        ("2026-01", "2026-02-01T00:00:00Z"),
        ("2026-12", "2027-01-01T00:00:00Z"),
        ("2028-02", "2028-03-01T00:00:00Z"),
        ("1970-01", "1970-02-01T00:00:00Z"),
    ],
)
def test_a_month_ends_where_the_next_begins(month, end):
    assert end_of_month(month) == parse_rfc3339(end)
    assert month_of(end_of_month(month) - 1) == month


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "", "2026-01-01", "9999-12"])
def test_what_is_no_month_has_no_end(text):
    with pytest.raises(ValueError, match="isoformat|month|range|year"):
        end_of_month(text)
