"""A connection to an aggregator."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Sequence
from datetime import timezone, tzinfo
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from ._errors import BadRequest, IdentityError, ProtocolError
from ._flight import FlightLink
from ._http import Form, HttpLink
from ._identity import Address, Identity, probe
from ._promql import table
from ._request import Texts, request, span
from ._table import Table
from ._times import LengthLike, TimeLike, moment, seconds

# Longest time for a connection, in seconds.
_CONNECT_TIMEOUT = 10.0


def connect(
    aggregator: str | None = None,
    *,
    identity: str | os.PathLike[str] | None = None,
    timeout: float | LengthLike = 60.0,
) -> Client:
    """Connect to an aggregator as an operator.

    ``aggregator`` is ``https://HOST:PORT``, by default of the environment variable CATCHMENT_AGGREGATOR; HOST must be
    in the aggregator's certificate. ``identity`` is the folder with ``cert.pem``, ``key.pem`` and ``ca.pem`` made by
    ``catchment-certs issue operator``, by default of CATCHMENT_IDENTITY. ``timeout`` (seconds, ``"2m"`` or a
    ``timedelta``) bounds each query as a whole, unless the query has its own.

    Raises ``IdentityError`` if folder or address cannot be used, ``PermissionDenied`` if one side refuses the other's
    certificate, and ``Unavailable`` if the aggregator cannot be reached.
    """
    url = aggregator or os.environ.get("CATCHMENT_AGGREGATOR")
    folder = identity or os.environ.get("CATCHMENT_IDENTITY")
    if not url:
        raise IdentityError("name the aggregator: connect('https://HOST:PORT', …), or set CATCHMENT_AGGREGATOR")
    if not folder:
        raise IdentityError("name an operator's identity folder: connect(…, identity=DIR), or set CATCHMENT_IDENTITY")
    client = Client(Address(url), Identity(Path(folder)), seconds(timeout, "timeout"))
    client.check()
    return client


class Client:
    """A connection to an aggregator, made by ``connect``. Safe to use from several threads; create it after a fork.

    The identity folder is read again when its files change. ``close``, or ``with``, ends the connections.
    """

    def __init__(self, address: Address, identity: Identity, timeout: float) -> None:
        """Use ``connect``."""
        self._address = address
        self._identity = identity
        self._timeout = timeout
        self._flight = FlightLink(address, identity)
        self._http = HttpLink(address, identity)

    def check(self) -> None:
        """Check that the aggregator can be reached, and that each side accepts the other's certificate."""
        probe(self._address, self._identity, min(self._timeout, _CONNECT_TIMEOUT))

    def query(
        self,
        selector: Texts,
        *,
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
        timeout: float | LengthLike | None = None,
    ) -> Table:
        """Aggregates of the selected series, as ``catchment query`` has them.

        ``selector``: a PromQL vector selector such as ``temperature{site="berlin"}``, or several in a list, whose
        series stay apart.

        ``last`` (``"15m"``, ``"30d"``, ``"1mo"`` or a ``timedelta``) is the range up to now; or the range begins at
        ``start`` and ends before ``end``, by default now. Times are a ``datetime`` with a zone, a ``date``, RFC 3339,
        Unix seconds, ``"now"`` or ``"now-1h"``. By default the last 15 minutes.

        ``step``: width of each point; without it there is one point for the whole range. ``"1h"`` and a ``timedelta``
        are always as long; ``"1d"``, ``"1w"``, ``"1mo"`` and ``"1y"`` begin at midnight of ``tz`` (an IANA name or a
        ``ZoneInfo``; default UTC).

        ``by``: labels to group by; without it, all selected series are merged into one. ``without``: labels to merge
        over. ``agg``: aggregates in the order of the columns, such as ``count``, ``mean``, ``p99``, ``below(20)`` and
        ``sum/count``; by default count, mean, min and max.

        ``fill``: what a point without readings has: ``"null"``, ``"previous"`` values, or ``"zero"``; without it there
        is none. ``top``: only the first so many series in the order of ``order``, an aggregate over the whole range,
        the greatest first unless ``ascending``.

        ``from_windows`` computes from the stored windows, not from merged hours: a check, with the same result.
        ``timeout`` replaces that of ``connect``.

        Raises ``BadRequest``, ``PermissionDenied``, ``LimitExceeded``, ``Unavailable``, ``DeadlineExceeded``,
        ``Unsupported``, ``AggregatorError`` or ``ProtocolError``, with the aggregator's words.
        """
        asked = request(
            selector,
            now_ms=_now_ms(),
            last=last,
            start=start,
            end=end,
            step=step,
            by=by,
            without=without,
            agg=agg,
            tz=tz,
            fill=fill,
            top=top,
            order=order,
            ascending=ascending,
            from_windows=from_windows,
        )
        return self._flight.get(asked.encode(), self._seconds(timeout))

    def promql(
        self,
        expression: str,
        *,
        time: TimeLike | None = None,
        last: LengthLike | None = None,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        step: float | LengthLike | None = None,
        incomplete: str | None = None,
        timeout: float | LengthLike | None = None,
    ) -> Table:
        """The value of a PromQL expression, at one ``time`` (default: now), or from ``start`` to ``end`` by ``step``.

        Times as in ``query``; ``end`` is included and by default now, and ``last`` stands for both. ``step``: seconds,
        ``"5m"`` or a ``timedelta``. ``incomplete="hide"`` cuts at the time up to which all gateways have delivered.

        The metric ``temperature`` stands for its readings and ``temperature:window`` for its distribution, as a native
        histogram: ``histogram_quantile(0.99, sum by (site) (sum_over_time(temperature:window[5m])))``.

        Columns: ``time``, the labels, ``value`` (float64; null where a series is of histograms) and, if there are any,
        ``histogram``: count, sum, and buckets with their boundaries. A text has a ``value`` of type utf8. See
        ``Table.warnings`` and ``Table.infos``. Raises as ``query``.
        """
        wait = self._seconds(timeout)
        now_ms = _now_ms()
        form: Form = [("query", expression), ("timeout", f"{wait:.3f}")]
        if incomplete is not None:
            form.append(("incomplete", incomplete))
        if step is None:
            if not (last is start is end is None):
                raise BadRequest("a range needs a step, such as step='1m'")
            if time is not None:
                form.append(("time", _seconds_text(moment(time, now_ms, timezone.utc, "time"))))
            return table(self._http.ask("POST", "/api/v1/query", form, wait))
        if time is not None:
            raise BadRequest("time is one instant: leave out step, or use start and end")
        from_ms, to_ms = span(last, start, end, now_ms, timezone.utc)
        form += [("start", _seconds_text(from_ms)), ("end", _seconds_text(to_ms))]
        form.append(("step", f"{seconds(step, 'step'):.3f}"))
        return table(self._http.ask("POST", "/api/v1/query_range", form, wait))

    def metrics(
        self, match: Texts = (), *, limit: int | None = None, timeout: float | LengthLike | None = None
    ) -> list[str]:
        """Names of the metrics, in order; with ``match``, of the series that a selector selects.

        ``temperature:window`` is not listed: each metric has that second name.
        """
        return self.label_values("__name__", match, limit=limit, timeout=timeout)

    def labels(
        self, match: Texts = (), *, limit: int | None = None, timeout: float | LengthLike | None = None
    ) -> list[str]:
        """Names of the labels, in order; with ``match``, of the series that a selector selects."""
        return self._list("/api/v1/labels", match, limit, timeout)

    def label_values(
        self, label: str, match: Texts = (), *, limit: int | None = None, timeout: float | LengthLike | None = None
    ) -> list[str]:
        """Values of a label, in order; with ``match``, of the series that a selector selects."""
        return self._list(f"/api/v1/label/{quote(label, safe='')}/values", match, limit, timeout)

    def series(
        self,
        selector: Texts,
        *,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        limit: int | None = None,
        timeout: float | LengthLike | None = None,
    ) -> list[dict[str, str]]:
        """The labels of each selected series, in order; between ``start`` and ``end`` if they are given.

        ``pandas.DataFrame(client.series("temperature"))`` is a table of them.
        """
        form = _matches(selector, limit)
        now_ms = _now_ms()
        for name, value in (("start", start), ("end", end)):
            if value is not None:
                form.append((name, _seconds_text(moment(value, now_ms, timezone.utc, name))))
        found = self._data("/api/v1/series", form, timeout)
        if not all(isinstance(labels, dict) for labels in found):
            raise ProtocolError("the aggregator's answer is not a list of series")
        return [{str(name): str(value) for name, value in labels.items()} for labels in found]

    def _list(self, path: str, match: Texts, limit: int | None, timeout: float | LengthLike | None) -> list[str]:
        return [str(name) for name in self._data(path, _matches(match, limit), timeout)]

    def _data(self, path: str, form: Form, timeout: float | LengthLike | None) -> list[Any]:
        found = self._http.ask("GET", path, form, self._seconds(timeout)).get("data")
        if not isinstance(found, list):
            raise ProtocolError("the aggregator's answer is not a list")
        return found

    def _seconds(self, timeout: float | LengthLike | None) -> float:
        return self._timeout if timeout is None else seconds(timeout, "timeout")

    def close(self) -> None:
        """End the connections; a further query opens new ones."""
        self._flight.close()
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<catchment.Client: {self._address}, identity {self._identity.folder}>"


def _now_ms() -> int:
    return clock.time_ns() // 1_000_000


def _seconds_text(ms: int) -> str:
    return f"{ms / 1000:.3f}"


def _matches(selectors: Texts, limit: int | None) -> Form:
    given: Sequence[str] = (selectors,) if isinstance(selectors, str) else selectors
    form = [("match[]", selector) for selector in given]
    return form if limit is None else [*form, ("limit", str(limit))]
