"""From the arguments of ``Client.query`` to the message ``catchment.v1.AggregateRequest``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Union

from . import _protobuf as protobuf
from ._errors import BadRequest
from ._times import Calendar, Length, LengthLike, TimeLike, length, moment, shift, zone

Texts = Union[str, Sequence[str]]

_FILLS = {None: 0, "null": 1, "previous": 2, "zero": 3}
_LAST = "15m"
_INT64 = range(-(1 << 63), 1 << 63)
_UINT32_MAX = (1 << 32) - 1


@dataclass(frozen=True)
class Request:
    """A request, checked as far as that needs no aggregator."""

    selectors: tuple[str, ...]
    from_ms: int
    to_ms: int
    # 0: one point for the whole range.
    step: Length = 0
    by: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    from_windows: bool = False
    time_zone: str = ""
    top: int = 0
    order: str = ""
    ascending: bool = False
    fill: int = 0

    def encode(self) -> bytes:
        """The bytes of the message: a Flight ticket."""
        calendar = b""
        step_ms = 0
        if isinstance(self.step, Calendar):
            step = protobuf.integer(1, self.step.unit) + protobuf.integer(2, self.step.count)
            calendar = protobuf.message(10, step)
        else:
            step_ms = self.step
        try:
            return b"".join((
                protobuf.text(1, self.selectors[0]),
                protobuf.integer(2, self.from_ms),
                protobuf.integer(3, self.to_ms),
                protobuf.integer(4, step_ms),
                protobuf.texts(5, self.by),
                protobuf.texts(6, self.aggregates),
                protobuf.integer(7, self.from_windows),
                protobuf.texts(9, self.without),
                calendar,
                protobuf.text(11, self.time_zone),
                protobuf.integer(12, self.top),
                protobuf.text(13, self.order),
                protobuf.integer(14, self.ascending),
                protobuf.integer(15, self.fill),
                protobuf.texts(16, self.selectors[1:]),
            ))  # fmt: skip
        except UnicodeEncodeError as error:
            raise BadRequest(f"a text is not valid Unicode: {error}") from error


def request(
    selector: Texts,
    *,
    now_ms: int,
    last: LengthLike | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    step: LengthLike | None = None,
    by: Texts = (),
    without: Texts = (),
    agg: Texts = (),
    tz: str | tzinfo | None = None,
    fill: str | None = None,
    top: int | None = None,
    order: str | None = None,
    ascending: bool = False,
    from_windows: bool = False,
) -> Request:
    """The request that the arguments describe, if the current time is ``now_ms``; raises ``BadRequest``."""
    selectors = (selector,) if isinstance(selector, str) else _texts(selector, "selector")
    if not selectors:
        raise BadRequest("selector: name at least one, such as 'temperature'")
    time_zone, of = zone(tz)
    from_ms, to_ms = span(last, start, end, now_ms, of)
    width: Length = 0 if step is None else length(step, "step")
    if step is not None and width == 0:
        raise BadRequest(f"step: {step!r} must be at least 1ms")
    if fill not in _FILLS:
        raise BadRequest(f"fill: {fill!r} is not known: use 'null', 'previous' or 'zero'")
    if fill is not None and step is None:
        raise BadRequest("fill: points without readings need a step")
    if top is not None and not (isinstance(top, int) and 1 <= top <= _UINT32_MAX):
        raise BadRequest(f"top: {top!r} must be a whole number of at least 1")
    if ascending and not (order or top):
        raise BadRequest("ascending sorts by order or with top: add one of them")
    if by and without:
        raise BadRequest("by and without exclude each other")
    aggregates = _texts(agg, "agg")
    return Request(
        selectors=selectors,
        from_ms=from_ms,
        to_ms=to_ms,
        step=width,
        by=_texts(by, "by"),
        without=_texts(without, "without"),
        aggregates=aggregates,
        from_windows=bool(from_windows),
        time_zone=time_zone,
        top=top or 0,
        # With `top`, the first aggregate, or the first of those that an aggregator computes by default.
        order=order or ((aggregates or ("count",))[0] if top else ""),
        ascending=bool(ascending),
        fill=_FILLS[fill],
    )


def span(
    last: LengthLike | None, start: TimeLike | None, end: TimeLike | None, now_ms: int, of: tzinfo
) -> tuple[int, int]:
    """A range [from, to): ``last`` up to now, or from ``start`` to ``end`` or now; without any, the last 15 minutes."""
    if last is not None and (start is not None or end is not None):
        raise BadRequest("last excludes start and end")
    if start is None:
        if end is not None:
            raise BadRequest("end needs a start")
        from_ms, to_ms = shift(now_ms, length(_LAST if last is None else last, "last"), -1, of), now_ms
    else:
        from_ms = moment(start, now_ms, of, "start")
        to_ms = now_ms if end is None else moment(end, now_ms, of, "end")
    if from_ms >= to_ms:
        raise BadRequest(f"the range is empty: it begins at {from_ms} and ends at {to_ms} (Unix milliseconds)")
    if from_ms not in _INT64 or to_ms not in _INT64:
        raise BadRequest("the range is too long")
    return from_ms, to_ms


def _texts(value: Texts, what: str) -> tuple[str, ...]:
    """Several texts; one text is a list separated by commas, as on the command line."""
    given: Iterable[str] = _split(value) if isinstance(value, str) else value
    texts = []
    for text in given:
        if not isinstance(text, str):
            raise BadRequest(f"{what}: {text!r} is not a text")
        if stripped := text.strip():
            texts.append(stripped)
    return tuple(texts)


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside of parentheses and quotation marks, such as those of ``histogram(10,20)``."""
    depth, quoted, escaped, start = 0, False, False, 0
    for at, character in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif character == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    yield text[start:]
