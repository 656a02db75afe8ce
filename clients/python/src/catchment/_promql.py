"""From the JSON of the Prometheus API to Arrow columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from ._errors import LimitExceeded, ProtocolError
from ._table import Table

# Most columns of labels; beyond, the table would hold mostly nulls.
_LABELS_MAX = 256

_TIME = pa.timestamp("ms", "UTC")
_HISTOGRAM = pa.struct([
    ("count", pa.float64()),
    ("sum", pa.float64()),
    (
        "buckets",
        pa.list_(
            pa.struct([
                # 0: (lower, upper], 1: [lower, upper), 2: (lower, upper), 3: [lower, upper].
                ("boundaries", pa.int8()),
                ("lower", pa.float64()),
                ("upper", pa.float64()),
                ("count", pa.float64()),
            ])
        ),
    ),
])  # fmt: skip


def table(answer: dict[str, Any]) -> Table:
    """The result of ``query`` or ``query_range``; raises ``ProtocolError``."""
    try:
        data = answer["data"]
        columns = _columns(data["resultType"], data["result"])
        return Table(columns, None, _texts(answer.get("warnings")), _texts(answer.get("infos")))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, pa.ArrowException) as error:
        raise ProtocolError(f"the aggregator's answer is not one of the Prometheus API: {error!r}") from error


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values or ())


def _columns(kind: str, result: Any) -> pa.Table:
    if kind == "scalar":
        time, value = result
        return pa.table({"time": _times([_ms(time)]), "value": pa.array([float(value)], pa.float64())})
    if kind == "string":
        time, text = result
        return pa.table({"time": _times([_ms(time)]), "value": pa.array([str(text)], pa.utf8())})
    if kind == "vector":
        series = [
            (of["metric"], [of["value"]] if "value" in of else [], [of["histogram"]] if "histogram" in of else [])
            for of in result
        ]
    elif kind == "matrix":
        series = [(of["metric"], of.get("values") or [], of.get("histograms") or []) for of in result]
    else:
        raise ValueError(f"resultType {kind!r}")
    return _series(series)


def _series(series: list[tuple[dict[str, str], list[Any], list[Any]]]) -> pa.Table:
    times: list[int] = []
    values: list[float | None] = []
    histograms: list[dict[str, Any] | None] = []
    rows: list[int] = []
    for index, (_, floats, windows) in enumerate(series):
        times += [_ms(time) for time, _ in floats]
        values += [float(value) for _, value in floats]
        times += [_ms(time) for time, _ in windows]
        values += [None] * len(windows)
        histograms += [None] * len(floats)
        histograms += [_histogram(window) for _, window in windows]
        rows += [index] * (len(floats) + len(windows))
    columns = {"time": _times(times)}
    of_row = pa.array(rows, pa.int32())
    for name, column in _labels([metric for metric, _, _ in series]).items():
        columns[name] = column.take(of_row)
    columns["value"] = pa.array(values, pa.float64())
    if any(windows for _, _, windows in series):
        columns["histogram"] = pa.array(histograms, _HISTOGRAM)
    return pa.table(columns)


def _labels(metrics: list[dict[str, str]]) -> dict[str, pa.Array]:
    """A column for each label: a value for each series, null where it lacks the label."""
    names = sorted({name for metric in metrics for name in metric})
    if len(names) > _LABELS_MAX:
        raise LimitExceeded(f"the series have {len(names)} labels: keep some with `sum by (…)` or the like")
    columns = {}
    taken = {"time", "value", "histogram", *names}
    for name in names:
        column = name
        if name in ("time", "value", "histogram"):
            while column in taken:
                column = f"label_{column}"
            taken.add(column)
        columns[column] = pa.array([metric.get(name) for metric in metrics], pa.utf8()).dictionary_encode()
    return columns


def _times(ms: list[int]) -> pa.Array:
    return pa.array(ms, pa.int64()).cast(_TIME)


def _ms(time: float) -> int:
    return round(time * 1000)


def _histogram(of: dict[str, Any]) -> dict[str, Any]:
    buckets = [
        {"boundaries": int(code), "lower": float(lower), "upper": float(upper), "count": float(count)}
        for code, lower, upper, count in of.get("buckets") or ()
    ]
    return {"count": float(of["count"]), "sum": float(of["sum"]), "buckets": buckets}
