"""Times, lengths of time and requests: each form, and refusals. The same cases as those of the command line."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("pyarrow.flight")

from catchment import BadRequest
from catchment._request import Request, request
from catchment._times import DAY, EPOCH, MONTH, WEEK, YEAR, Calendar, length, moment, seconds, shift, zone

UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000
NOW = 1_800_000_000_000


def at(ms: int) -> str:
    return (EPOCH + timedelta(milliseconds=ms)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        (" 1 h 30 min ", 5_400_000),
        ("24h", 24 * HOUR),
        ("1d12h", 36 * HOUR),
        ("1500us", 1),
        ("0s", 0),
        ("1d", Calendar(1, DAY)),
        (" 2 days ", Calendar(2, DAY)),
        ("1w", Calendar(1, WEEK)),
        ("3mo", Calendar(3, MONTH)),
        ("1y", Calendar(1, YEAR)),
        (timedelta(days=1), 24 * HOUR),
        (timedelta(microseconds=1_999), 1),
    ],
)
def test_lengths(text: Any, expected: Any) -> None:
    assert length(text, "step") == expected


@pytest.mark.parametrize(
    "text",
    ["", "d", "x", "1q", "-1d", "1.5d", "0d", "1001y", "9" * 20 + "d", "1M", "1mo2d", "1y6mo", "1d1M", "1h-",
     "9" * 20 + "h", timedelta.max, "\u0661h", timedelta(seconds=-1), 5, None, True],
)  # fmt: skip
def test_what_is_no_length_is_refused_by_the_name_of_the_argument(text: Any) -> None:
    with pytest.raises(BadRequest, match="step: "):
        length(text, "step")


def test_months_of_a_fixed_length_are_refused_with_the_calendars() -> None:
    with pytest.raises(BadRequest, match="write for example 1mo"):
        length("1M", "step")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-22T10:00:00Z", 1_795_341_600_000),
        ("2026-11-22t11:00:00.25+01:00", 1_795_341_600_250),
        ("2026-11-22T11:00:00.123456789+0100", 1_795_341_600_123),
        ("2026-11-22 11:00", 1_795_341_600_000 + HOUR),
        ("2026-11-22", 1_795_341_600_000 - 10 * HOUR),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.0375", 1_700_000_000_037),
        (1_700_000_000.5, 1_700_000_000_500),
        ("-1.5", -1_500),
        ("-0.5", -500),
        ("now", NOW),
        ("now-1h", NOW - HOUR),
        ("now - 1h30m", NOW - HOUR * 3 // 2),
        ("now+2s", NOW + 2_000),
        (datetime(2026, 11, 22, 11, tzinfo=BERLIN), 1_795_341_600_000),
        (date(2026, 11, 22), 1_795_341_600_000 - 10 * HOUR),
    ],
)
def test_times(value: Any, expected: int) -> None:
    assert moment(value, NOW, UTC, "start") == expected


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "1h", "nowish", "now-", "now-x", "now-1M", "1.", "1.5e3", "2026-11-32", "2026-11-22T25:00",
     "99999999999999999", "2026-11-22T10:00[UTC]", "2026-11-22Z", datetime(2026, 11, 22), 1_800_000_000_000,
     float("nan"), float("inf"), True, None, b"now"],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest):
        moment(value, NOW, UTC, "start")


def test_dates_and_times_without_offset_are_those_of_the_zone() -> None:
    def of(text: str, name: str) -> str:
        return at(moment(text, 0, zone(name)[1], "start"))

    assert of("2026-03-29", "Europe/Berlin") == "2026-03-28T23:00:00Z"
    assert of("2026-03-30", "Europe/Berlin") == "2026-03-29T22:00:00Z"
    assert of("2018-11-04", "America/Sao_Paulo") == "2018-11-04T03:00:00Z", "there was no midnight"
    assert of("2026-03-29T12:30", "Europe/Berlin") == "2026-03-29T10:30:00Z"
    assert of("2026-03-29T12:30:00+05:00", "Europe/Berlin") == "2026-03-29T07:30:00Z"


def test_a_shift_follows_the_zone() -> None:
    ms = 1_774_778_400_000  # 2026-03-29T10:00:00Z

    def back(text: str, of: Any) -> int:
        return ms - shift(ms, length(text, "last"), -1, of)

    assert back("1d", BERLIN) == 23 * HOUR
    assert back("1d", UTC) == 24 * HOUR
    assert back("24h", BERLIN) == 24 * HOUR
    assert back("1mo", UTC) == 29 * 24 * HOUR, "there is no 29th of February"
    assert at(shift(ms, Calendar(1, YEAR), 1, UTC)) == "2027-03-29T10:00:00Z"
    with pytest.raises(BadRequest, match="9999"):
        shift(ms, Calendar(1_000, YEAR), 1, zone("UTC")[1]) + shift(250_000_000_000_000, Calendar(500, YEAR), 1, UTC)


def test_zones() -> None:
    assert zone(None) == zone("") == zone(UTC) == ("", UTC)
    assert zone(BERLIN) == zone("Europe/Berlin") == ("Europe/Berlin", BERLIN)
    for bad in ("Europe/Nowhere", "../etc/passwd", "x" * 5_000, timezone(timedelta(hours=1))):
        with pytest.raises(BadRequest, match="tz: "):
            zone(bad)


def test_seconds() -> None:
    assert [seconds(value, "timeout") for value in (2, 0.5, "1m", timedelta(minutes=1), "1d", "1w")] == [
        2, 0.5, 60, 60, 86_400, 604_800
    ]  # fmt: skip
    for bad in (0, -1, float("nan"), float("inf"), "0s", "1mo", True, None):
        with pytest.raises(BadRequest):
            seconds(bad, "timeout")  # type: ignore[arg-type]


def fields(encoded: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a protobuf message, read naively."""
    rest = bytearray(encoded)

    def varint() -> int:
        digits = [rest.pop(0)]
        while digits[-1] >= 0x80:
            digits.append(rest.pop(0))
        return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(digits))

    found: list[tuple[int, int | bytes]] = []
    while rest:
        tag = varint()
        value: int | bytes = varint()
        if tag & 7 == 2:
            size = int(value)
            value = bytes(rest[:size])
            del rest[:size]
        found.append((tag >> 3, value))
    return found


def test_a_request_is_encoded_as_its_message() -> None:
    asked = Request(
        selectors=('é{a="b"}', "m"),
        from_ms=-5,
        to_ms=1 << 40,
        step=Calendar(300, MONTH),
        by=("site", "device"),
        without=("x",),
        aggregates=("mean", "p99"),
        from_windows=True,
        time_zone="Europe/Berlin",
        top=3,
        order="p99",
        ascending=True,
        fill=3,
    )
    assert fields(asked.encode()) == [
        (1, 'é{a="b"}'.encode()),
        (2, (1 << 64) - 5),
        (3, 1 << 40),
        (5, b"site"),
        (5, b"device"),
        (6, b"mean"),
        (6, b"p99"),
        (7, 1),
        (9, b"x"),
        (10, b"\x08\x03\x10\xac\x02"),
        (11, b"Europe/Berlin"),
        (12, 3),
        (13, b"p99"),
        (14, 1),
        (15, 3),
        (16, b"m"),
    ]
    assert fields(Request(("m",), 0, 1, 60_000).encode()) == [(1, b"m"), (3, 1), (4, 60_000)]


def test_arguments_become_a_request() -> None:
    assert request("t", now_ms=NOW) == Request(("t",), NOW - 900_000, NOW)
    asked = request(
        ["a", "b"], now_ms=NOW, start="now-1h", step="1d", by="site, device", agg="histogram(1,2),time_in(\"a,)\"),p99",
        tz=BERLIN, fill="null", top=2,
    )  # fmt: skip
    assert asked == Request(
        ("a", "b"), NOW - HOUR, NOW, Calendar(1, DAY), by=("site", "device"), time_zone="Europe/Berlin", fill=1, top=2,
        aggregates=("histogram(1,2)", 'time_in("a,)")', "p99"), order="histogram(1,2)",
    )  # fmt: skip
    assert request("t", now_ms=NOW, by=["a,b"]).by == ("a,b",), "an element of a list is not split"
    assert request("t", now_ms=NOW, top=1).order == "count"
    assert request("t", now_ms=NOW, last=timedelta(hours=2)).from_ms == NOW - 2 * HOUR
    assert request("t", now_ms=NOW, start=0, end=datetime(1970, 1, 2, tzinfo=UTC)).to_ms == 24 * HOUR


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"selector": []}, "at least one"),
        ({"selector": [1]}, "not a text"),
        ({"last": "1h", "start": 0}, "excludes"),
        ({"end": 5}, "needs a start"),
        ({"start": "now", "end": "now"}, "empty"),
        ({"last": "0s"}, "empty"),
        ({"step": "0s"}, "at least 1ms"),
        ({"fill": "zero"}, "need a step"),
        ({"fill": "some", "step": "1m"}, "'previous'"),
        ({"top": 0}, "at least 1"),
        ({"top": 1 << 40}, "whole number"),
        ({"ascending": True}, "order or with top"),
        ({"by": "a", "without": "b"}, "exclude"),
        ({"by": [None]}, "by: None"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        request(**{"selector": "t", "now_ms": NOW, **arguments})


def test_what_is_not_unicode_is_refused() -> None:
    with pytest.raises(BadRequest, match="Unicode"):
        request("\ud800", now_ms=NOW).encode()
