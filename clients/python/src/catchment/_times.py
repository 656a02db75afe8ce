"""Times and lengths of time as people write them; the same forms as ``catchment query`` takes.

Lengths: ``90s``, ``1h30m`` and ``timedelta`` are always as long; ``1d``, ``2w``, ``3mo`` and ``1y`` are the calendar's,
in a time zone. Times: ``datetime`` with a zone, ``date``, RFC 3339, a date, Unix seconds, ``now`` and ``now-1h``.
All results are Unix milliseconds.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Union
from zoneinfo import ZoneInfo

from ._errors import BadRequest

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY, WEEK, MONTH, YEAR = 1, 2, 3, 4

_CALENDAR = {
    DAY: ("d", "day", "days"),
    WEEK: ("w", "week", "weeks"),
    MONTH: ("mo", "mon", "month", "months"),
    YEAR: ("y", "yr", "year", "years"),
}
_CALENDAR_UNITS = {name: unit for unit, names in _CALENDAR.items() for name in names}
# A thousand years, in each unit.
_COUNT_MAX = {DAY: 366_000, WEEK: 52_300, MONTH: 12_000, YEAR: 1_000}

_FIXED_MS_MAX = 366_000 * 86_400_000

_FIXED = {
    1: ("ns", "nsec"),
    10**3: ("us", "usec"),
    10**6: ("ms", "msec"),
    10**9: ("s", "sec", "secs", "second", "seconds"),
    60 * 10**9: ("m", "min", "mins", "minute", "minutes"),
    3_600 * 10**9: ("h", "hr", "hrs", "hour", "hours"),
    86_400 * 10**9: ("d", "day", "days"),
    7 * 86_400 * 10**9: ("w", "week", "weeks"),
}
_FIXED_UNITS = {name: nanoseconds for nanoseconds, names in _FIXED.items() for name in names}

_PARTS = re.compile(r"\s*([0-9]{1,20})\s*([A-Za-z]+)\s*")
_SECONDS = re.compile(r"(-?[0-9]{1,15})(?:\.([0-9]+))?")
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T t]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


@dataclass(frozen=True)
class Calendar:
    """Days, weeks, months or years of a time zone."""

    count: int
    unit: int


# Milliseconds, or the calendar's.
Length = Union[int, Calendar]
LengthLike = Union[str, timedelta]
TimeLike = Union[str, datetime, date, float]


def zone(name: str | tzinfo | None) -> tuple[str, tzinfo]:
    """The name of a time zone for the aggregator (empty: UTC), and the zone."""
    if name is None or name == "" or name is timezone.utc:
        return "", timezone.utc
    key = name if isinstance(name, str) else getattr(name, "key", None)
    if not isinstance(key, str):
        raise BadRequest(f"tz: {name!r} has no IANA name: use for example 'Europe/Berlin'")
    try:
        return key, ZoneInfo(key)
    except (KeyError, ValueError, OSError) as error:
        raise BadRequest(
            f"tz: {key!r} is not known here: use an IANA name such as Europe/Berlin, and `pip install tzdata` where "
            f"the system has no time zones ({error})"
        ) from error


def length(value: LengthLike, what: str) -> Length:
    """A length of time; ``what`` names the argument in errors."""
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise BadRequest(f"{what}: {value!r} is negative")
        return _fixed(value // timedelta(milliseconds=1), value, what)
    if not isinstance(value, str):
        raise BadRequest(f"{what}: {value!r} is neither a text such as '1h' nor a timedelta")
    parts = _PARTS.findall(value)
    if not parts or not re.fullmatch(f"(?:{_PARTS.pattern})+", value):
        raise BadRequest(f"{what}: {value!r} is not a duration: use for example 90s, 15m, 1h30m, 1d, 2w, 3mo or 1y")
    if len(parts) == 1 and parts[0][1] in _CALENDAR_UNITS:
        count, unit = int(parts[0][0]), _CALENDAR_UNITS[parts[0][1]]
        if not 1 <= count <= _COUNT_MAX[unit]:
            raise BadRequest(f"{what}: {value!r} must be at least 1 and at most 1,000 years")
        return Calendar(count, unit)
    nanoseconds = 0
    for digits, unit_name in parts:
        if unit_name == "M" or unit_name.startswith(("mo", "y")):
            raise BadRequest(
                f"{what}: {value!r}: months and years are the calendar's and stand alone: write for example 1mo or 1y "
                "(and 1m for a minute)"
            )
        if unit_name not in _FIXED_UNITS:
            raise BadRequest(f"{what}: {value!r}: {unit_name!r} is no unit: use ms, s, m, h, d, w, mo or y")
        nanoseconds += int(digits) * _FIXED_UNITS[unit_name]
    return _fixed(nanoseconds // 10**6, value, what)


def _fixed(ms: int, value: LengthLike, what: str) -> int:
    if ms > _FIXED_MS_MAX:
        raise BadRequest(f"{what}: {value!r} must be at most 1,000 years")
    return ms


def seconds(value: float | LengthLike, what: str) -> float:
    """A length of time that is no calendar's, in seconds; numbers are seconds."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        fixed = length(value, what)  # type: ignore[arg-type]
        if isinstance(fixed, Calendar):
            if fixed.unit > WEEK:
                raise BadRequest(f"{what}: {value!r} is not always as long: use days or hours")
            fixed = fixed.count * (86_400_000 if fixed.unit == DAY else 7 * 86_400_000)
        number = fixed / 1000
    if not 0 < number < 10**10:
        raise BadRequest(f"{what}: {value!r} must be greater than 0 and finite")
    return number


def milliseconds(time: datetime) -> int:
    """Unix milliseconds of a time with a zone, rounded down."""
    return (time - EPOCH) // timedelta(milliseconds=1)


def shift(ms: int, by: Length, sign: int, of: tzinfo) -> int:
    """The time so long before (``sign`` -1) or after (1) another; the calendar's lengths keep the time of day."""
    if isinstance(by, int):
        return ms + sign * by
    try:
        local = (EPOCH + timedelta(milliseconds=ms)).astimezone(of)
        count = sign * by.count
        if by.unit in (DAY, WEEK):
            wall = local.replace(tzinfo=None) + timedelta(days=count * (1 if by.unit == DAY else 7))
        else:
            months = local.year * 12 + local.month - 1 + count * (1 if by.unit == MONTH else 12)
            year, month = divmod(months, 12)
            day = min(local.day, calendar.monthrange(year, month + 1)[1])
            wall = local.replace(year=year, month=month + 1, day=day, tzinfo=None)
        return milliseconds(wall.replace(tzinfo=of, fold=0))
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"the range begins or ends beyond the years 1 to 9999 ({error})") from error


def moment(value: TimeLike, now_ms: int, of: tzinfo, what: str) -> int:
    """A point in time; ``what`` names the argument in errors."""
    if isinstance(value, datetime):
        if value.tzinfo is None or value.utcoffset() is None:
            raise BadRequest(f"{what}: {value!r} has no time zone: add one, such as value.replace(tzinfo=timezone.utc)")
        return milliseconds(value)
    if isinstance(value, date):
        return milliseconds(datetime(value.year, value.month, value.day, tzinfo=of))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _unix(value, what)
    if not isinstance(value, str):
        raise BadRequest(f"{what}: {value!r} is no time: use a datetime with a zone, a date, or a text such as now-1h")
    text = value.strip()
    if text.startswith("now"):
        return _relative(text[3:].strip(), now_ms, of, what)
    if found := _SECONDS.fullmatch(text):
        fraction = int((found[2] or "").ljust(3, "0")[:3])
        return _unix(int(found[1]), what) + (-fraction if text.startswith("-") else fraction)
    return _iso(text, of, what)


def _unix(number: float, what: str) -> int:
    # The years 1 to 9999.
    if not -62_135_596_800 <= number < 253_402_300_800:
        raise BadRequest(f"{what}: {number!r} is no time in Unix seconds (milliseconds are divided by 1000)")
    return int(number * 1000 // 1)


def _relative(offset: str, now_ms: int, of: tzinfo, what: str) -> int:
    if not offset:
        return now_ms
    if offset[0] not in "+-":
        raise BadRequest(f"{what}: 'now{offset}' is no time: use now, now-1h or now+1h")
    return shift(now_ms, length(offset[1:], what), 1 if offset[0] == "+" else -1, of)


def _iso(text: str, of: tzinfo, what: str) -> int:
    found = _ISO.fullmatch(text)
    if not found:
        raise BadRequest(
            f"{what}: {text!r} is not a time: use RFC 3339 (2026-11-22T10:00:00Z), a date (2026-11-22), Unix seconds, "
            "now, or now-1h"
        )
    year, month, day, hour, minute, second = (int(found[group] or 0) for group in range(1, 7))
    microsecond = int((found[7] or "").ljust(6, "0")[:6])
    offset = found[8]
    of_text: tzinfo = of
    try:
        if offset in ("Z", "z"):
            of_text = timezone.utc
        elif offset:
            distance = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
            of_text = timezone(-distance if offset[0] == "-" else distance)
        return milliseconds(datetime(year, month, day, hour, minute, second, microsecond, tzinfo=of_text))
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{what}: {text!r} is not a time: {error}") from error
