"""Messages: readings with one time and one set of labels, checked by the gateway's rules, as JSON text.

The text begins with ``{`` and has no sequence number: that is inserted when it is sent.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import time
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import SupportsFloat, Union

from ._errors import InvalidReading

# The gateway's limits: docs/protocols.md, "Readings" and "Limits".
METRIC_BYTES_MAX = 200
LABELS_MAX = 16
LABEL_BYTES_MAX = 256
STATE_BYTES_MAX = 64
READINGS_MAX = 10_000
MESSAGE_BYTES_MAX = 256 * 1024
# Maximum number of bytes that the sequence number adds to a message.
SEQ_BYTES_MAX = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset({"site", "gateway", "device"})

Timestamp = Union[int, float, datetime]
# A number or a boolean, or a text that is a state.
Reading = Union[SupportsFloat, str]

_VALUE = "a value is a finite number, a boolean or a text"


def encode(
    readings: Mapping[str, Reading],
    ts: Timestamp | None = None,
    labels: Mapping[str, str] | None = None,
) -> bytes:
    """Check a message and encode it as one line of JSON, without sequence number and line end.

    ``ts``: Unix milliseconds, or a ``datetime`` with a time zone; ``None``: now.
    """
    if not readings:
        raise InvalidReading("a message needs at least one reading")
    if len(readings) > READINGS_MAX:
        raise InvalidReading(f"a message has at most {READINGS_MAX} readings, this one has {len(readings)}")
    message: dict[str, object] = {"ts": _millis(ts)}
    message["values"] = {_metric(name): _value(name, value) for name, value in readings.items()}
    if labels:
        if len(labels) > LABELS_MAX:
            raise InvalidReading(f"a series has at most {LABELS_MAX} labels, this one has {len(labels)}")
        message["labels"] = {_label(name): _label_value(name, value) for name, value in labels.items()}
    body = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    if len(body) + SEQ_BYTES_MAX > MESSAGE_BYTES_MAX:
        raise InvalidReading(f"a message has at most {MESSAGE_BYTES_MAX} bytes, this one has {len(body)}")
    return body


def _millis(ts: Timestamp | None) -> int | float:
    if ts is None:
        return time.time_ns() // 1_000_000
    if isinstance(ts, datetime):
        if ts.tzinfo is None:
            raise InvalidReading("ts is a datetime without a time zone: give it one, for example timezone.utc")
        return round(ts.timestamp() * 1000, 3)
    if isinstance(ts, bool) or not isinstance(ts, (int, float)) or not math.isfinite(ts):
        raise InvalidReading(f"ts is Unix time in milliseconds, a number, or a datetime; not {ts!r}")
    if abs(ts) > 1e15:
        raise InvalidReading(f"ts is Unix time in milliseconds; {ts!r} looks like micro- or nanoseconds")
    return ts


def _metric(name: object) -> str:
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidReading(f"a metric's name matches [A-Za-z_][A-Za-z0-9_]*, {name!r} does not")
    if len(name) > METRIC_BYTES_MAX:
        raise InvalidReading(f"a metric's name has at most {METRIC_BYTES_MAX} bytes, {name[:32]!r}… has more")
    return name


def _value(name: str, value: object) -> bool | int | float | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _state(name, value)
    if not isinstance(value, (numbers.Real, Decimal)):
        raise InvalidReading(f"{name}: {_VALUE}, {_shown(value)} is not")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidReading(f"{name}: {_VALUE}, {_shown(value)} is not")
    return number


def _state(name: str, value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidReading(f"{name}: {_shown(value)} is not valid Unicode") from None
    if not 1 <= size <= STATE_BYTES_MAX:
        raise InvalidReading(f"{name}: a text has 1 to {STATE_BYTES_MAX} bytes, not {size}")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise InvalidReading(f"{name}: a text has no control characters, {_shown(value)} has")
    return value


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 1024:
        return "an integer beyond the range of a double"
    text = repr(value)
    return text if len(text) <= 64 else text[:64] + "…"


def _label(name: object) -> str:
    if not isinstance(name, str) or not _NAME.match(name) or len(name) > METRIC_BYTES_MAX:
        raise InvalidReading(f"a label's name matches [A-Za-z_][A-Za-z0-9_]*, {_shown(name)} does not")
    if name in _RESERVED or name.startswith("__"):
        raise InvalidReading(f"the label {name!r} is reserved")
    return name


def _label_value(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidReading(f"label {name}: a label's value is a string, {_shown(value)} is not")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidReading(f"label {name}: {_shown(value)} is not valid Unicode") from None
    if size > LABEL_BYTES_MAX:
        raise InvalidReading(f"label {name}: a label's value has at most {LABEL_BYTES_MAX} bytes, not {size}")
    return value
