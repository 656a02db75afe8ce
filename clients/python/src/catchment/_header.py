"""What an answer says about itself: how far it is complete, which gateways count, and what is lost.

The aggregator sends it as JSON with the keys of ``catchment query --format json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from ._errors import BadRequest, ProtocolError
from ._times import EPOCH, moment

# Keys of the schema's metadata.
COMPLETE_UNTIL_KEY = b"complete_until"
HEADER_KEY = b"catchment"


@dataclass(frozen=True)
class GatewayProgress:
    """How far a gateway has delivered. Times are UTC; ``None``: never yet, or not known."""

    site: str
    gateway: str
    complete_until: datetime | None
    # How far that is behind the aggregator's clock.
    lag: timedelta | None
    # It has a stream open to the aggregator now.
    connected: bool
    # Windows in the range that were corrected after they had been delivered as complete.
    late_corrections: int
    # Readings that the gateway refused in the range.
    refused_readings: int


@dataclass(frozen=True)
class Gap:
    """Windows of a gateway that end after ``start`` and not after ``end`` are known to be lost, or some of them.

    ``start`` is ``None`` if they are missing from the beginning; ``batches`` is 0 if their number is not known.
    """

    site: str
    gateway: str
    start: datetime | None
    end: datetime
    batches: int


@dataclass(frozen=True)
class Header:
    """What an answer says about itself; see ``Table``."""

    complete_until: datetime | None = None
    gaps: tuple[Gap, ...] = ()
    gateways: tuple[GatewayProgress, ...] = ()
    expected: int = 0
    behind: int = 0
    late_corrections: int = 0
    refused_readings: int = 0


def parse(text: bytes) -> Header:
    """The header in the metadata of an answer; raises ``ProtocolError``."""
    try:
        whole = json.loads(text)
        completeness = whole.get("completeness") or {}
        return Header(
            complete_until=_time(whole.get("complete_until")),
            gaps=tuple(_gap(gap) for gap in whole.get("gaps", ())),
            gateways=tuple(_gateway(gateway) for gateway in completeness.get("gateways", ())),
            expected=int(completeness.get("expected", 0)),
            behind=int(completeness.get("behind", 0)),
            late_corrections=int(completeness.get("late_corrections", 0)),
            refused_readings=int(completeness.get("refused_readings", 0)),
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"the aggregator's answer has no readable header: {error}") from error


def _time(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        ms = moment(str(text), 0, timezone.utc, "time")
    except BadRequest:
        # Beyond the years of RFC 3339: a number, of which no datetime can be made.
        return None
    return EPOCH + timedelta(milliseconds=ms)


def _gateway(of: dict[str, Any]) -> GatewayProgress:
    lag = of.get("lag_ms")
    return GatewayProgress(
        site=str(of["site"]),
        gateway=str(of["gateway"]),
        complete_until=_time(of.get("complete_until")),
        lag=None if lag is None else timedelta(milliseconds=lag),
        connected=bool(of.get("connected", False)),
        late_corrections=int(of.get("late_corrections", 0)),
        refused_readings=int(of.get("refused_readings", 0)),
    )


def _gap(of: dict[str, Any]) -> Gap:
    end = _time(of["to"])
    if end is None:
        raise ValueError(f"a gap without an end: {of}")
    return Gap(str(of["site"]), str(of["gateway"]), _time(of.get("from")), end, int(of.get("batches", 0)))
