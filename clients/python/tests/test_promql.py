"""``Client.promql`` and the lists against a fake aggregator that speaks the Prometheus API."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.flight")

import catchment
from aggregator import TIME, Answer, FakeHttp, error, success
from catchment import _http

Serve = Callable[..., tuple[FakeHttp, catchment.Client]]


@pytest.fixture
def serve(pki: Path) -> Iterator[Serve]:
    """Connects to a new fake aggregator that answers as given."""
    ends: list[Callable[[], Any]] = []

    def make(answer: Callable[[str, dict[str, str]], Answer] | Answer, **options: Any) -> Any:
        server = FakeHttp(pki, answer if callable(answer) else lambda *_: answer)
        client = catchment.connect(server.url, identity=pki / "operator", **options)
        ends.extend([server.close, client.close])
        return server, client

    yield make
    for end in reversed(ends):
        end()


def vector(*series: tuple[dict[str, str], Any]) -> Answer:
    result = [{"metric": metric, "value": value} for metric, value in series]
    return success({"resultType": "vector", "result": result})


def test_an_instant_vector_is_a_table(serve: Serve) -> None:
    server, client = serve(
        vector(({"__name__": "t", "site": "berlin"}, [1435781451.781, "1.5"]), ({"device": "b"}, [1435781451, "+Inf"]))
    )
    table = client.promql("t", time="2026-11-22T10:00:00Z", timeout=7)
    arrow = table.to_arrow()
    assert table.columns == ["time", "__name__", "device", "site", "value"]
    assert arrow.schema.field("time").type == TIME
    assert arrow.column("time").cast(pa.int64()).to_pylist() == [1435781451781, 1435781451000]
    assert arrow.column("site").to_pylist() == ["berlin", None]
    assert arrow.column("device").to_pylist() == [None, "b"]
    assert arrow.column("value").to_pylist() == [1.5, math.inf]
    assert (table.complete_until, table.gaps) == (None, ())
    ((method, path, form),) = server.requests
    assert (method, path) == ("POST", "/api/v1/query")
    assert dict(form) == {"query": "t", "timeout": "7.000", "time": "1795341600.000"}


def test_a_range_is_a_table(serve: Serve) -> None:
    result = [
        {"metric": {"site": "a"}, "values": [[0, "1"], [60, "NaN"], [120, "-0"]]},
        {"metric": {"site": "b"}, "values": [[60, "1e-07"]]},
    ]
    server, client = serve(success({"resultType": "matrix", "result": result}, warnings=["late"], infos=["aligned"]))
    table = client.promql("sum by (site) (t)", start=0, end=120, step="1m", incomplete="hide")
    arrow = table.to_arrow()
    assert arrow.column("time").cast(pa.int64()).to_pylist() == [0, 60_000, 120_000, 60_000]
    assert arrow.column("site").to_pylist() == ["a", "a", "a", "b"]
    values = arrow.column("value").to_pylist()
    assert (values[0], values[2], values[3], math.isnan(values[1])) == (1.0, -0.0, 1e-7, True)
    assert math.copysign(1, values[2]) == -1
    assert (table.warnings, table.infos) == (("late",), ("aligned",))
    assert dict(server.requests[0][2]) == {
        "query": "sum by (site) (t)", "timeout": "60.000", "incomplete": "hide", "start": "0.000", "end": "120.000",
        "step": "60.000",
    }  # fmt: skip
    client.promql("t", last=timedelta(hours=1), step=15)
    form = dict(server.requests[1][2])
    assert float(form["end"]) - float(form["start"]) == 3600
    assert form["step"] == "15.000"


def test_scalars_texts_and_nothing(serve: Serve) -> None:
    answers = iter(
        [
            success({"resultType": "scalar", "result": [4.1, "2"]}),
            success({"resultType": "string", "result": [4, "a text"]}),
            success({"resultType": "vector", "result": []}),
        ]
    )
    _, client = serve(lambda *_: next(answers))
    assert client.promql("1+1").to_arrow().to_pylist()[0]["value"] == 2.0
    assert client.promql('"a text"').to_arrow().column("value").to_pylist() == ["a text"]
    nothing = client.promql("nothing")
    assert (len(nothing), nothing.columns) == (0, ["time", "value"])


def test_histograms_have_a_column_of_their_own(serve: Serve) -> None:
    histogram = {"count": "3", "sum": "4.5", "buckets": [[0, "0.5", "1", "2"], [3, "-0.001", "0.001", "1"]]}
    series = [{"metric": {}, "values": [[1, "5"]], "histograms": [[2, histogram]]}]
    _, client = serve(success({"resultType": "matrix", "result": series}))
    table = client.promql("t:window", start=0, end=2, step=1)
    assert table.to_arrow().column("value").to_pylist() == [5.0, None]
    first, second = table.to_arrow().column("histogram").to_pylist()
    assert first is None
    assert (second["count"], second["sum"]) == (3.0, 4.5)
    assert second["buckets"][1] == {"boundaries": 3, "lower": -0.001, "upper": 0.001, "count": 1.0}


def test_labels_that_are_named_like_columns_are_kept(serve: Serve) -> None:
    _, client = serve(vector(({"value": "a", "label_value": "b", "time": "c"}, [1, "2"])))
    (row,) = client.promql("t").to_arrow().to_pylist()
    assert row["value"] == 2.0
    assert (row["label_label_value"], row["label_value"], row["label_time"]) == ("a", "b", "c")


def test_lists(serve: Serve) -> None:
    data: dict[str, Any] = {
        "/api/v1/label/__name__/values": ["a", "b"],
        "/api/v1/label/sp%2Face/values": ["x"],
        "/api/v1/labels": ["device"],
        "/api/v1/series": [{"__name__": "a", "device": "press-17"}],
    }
    server, client = serve(lambda path, _: success(data[path]))
    assert client.metrics() == ["a", "b"]
    assert client.label_values("sp/ace", "a", limit=5) == ["x"]
    assert client.labels(["a", "b"]) == ["device"]
    assert client.series("a", start=0, end="now") == [{"__name__": "a", "device": "press-17"}]
    assert [form for _, _, form in server.requests][:3] == [
        [], [("match[]", "a"), ("limit", "5")], [("match[]", "a"), ("match[]", "b")]
    ]  # fmt: skip
    assert server.requests[3][2][:2] == [("match[]", "a"), ("start", "0.000")]
    assert server.connections == 1, "the connection is kept"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(400, "bad_data", "parse error (1:3)"), catchment.BadRequest),
        (error(422, "execution", "many-to-many"), catchment.BadRequest),
        (error(403, "forbidden", "role device"), catchment.PermissionDenied),
        (error(404, "not_found", "no such path"), catchment.Unsupported),
        (error(429, "too_many", "queries_per_operator_max"), catchment.LimitExceeded),
        (error(503, "timeout", "two minutes"), catchment.DeadlineExceeded),
        (error(503, "unavailable", "starting"), catchment.Unavailable),
        (error(500, "internal", "defect"), catchment.AggregatorError),
        (error(418, "teapot", "tea"), catchment.AggregatorError),
    ],
)
def test_refusals_are_the_aggregators_words(serve: Serve, answer: Answer, expected: type[Exception]) -> None:
    _, client = serve(answer)
    with pytest.raises(expected) as caught:
        client.promql("t")
    assert type(caught.value) is expected
    assert str(caught.value) == json.loads(answer[1])["error"]


NO_ANSWERS: list[Any] = [
    b"", b"{", b"[]", b"[" * 100_000, b'"text"', b"\xff", b'{"status":"success"}',
    {"data": None}, {"data": []}, {"data": {"resultType": "matrix"}}, {"data": {"resultType": "x", "result": []}},
    {"data": {"resultType": "scalar", "result": []}}, {"data": {"resultType": "scalar", "result": [1e308, "1"]}},
    {"data": {"resultType": "vector", "result": 5}}, {"data": {"resultType": "vector", "result": [{}]}},
    {"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "x"]}]}},
    {"data": {"resultType": "vector", "result": [{"metric": {}, "value": ["1", "2"]}]}},
    {"data": {"resultType": "vector", "result": [{"metric": {}, "value": [1]}]}},
    {"data": {"resultType": "vector", "result": [{"metric": {"a": 5}, "value": [1, "2"]}]}},
    {"data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]}},
    {"data": {"resultType": "vector", "result": [{"metric": [], "value": [1, None]}]}},
]  # fmt: skip


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_what_is_no_answer_is_refused(serve: Serve, body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps({"status": "success", **body}).encode()
    _, client = serve((200, raw))
    with pytest.raises(catchment.ProtocolError):
        client.promql("t")


def test_what_is_no_list_is_refused(serve: Serve) -> None:
    _, client = serve(success({"a": 1}))
    with pytest.raises(catchment.ProtocolError):
        client.metrics()
    _, client = serve(success([5]))
    with pytest.raises(catchment.ProtocolError):
        client.series("t")


def test_an_aggregator_without_the_api_is_named(serve: Serve) -> None:
    _, client = serve((404, b"not found"))
    with pytest.raises(catchment.Unsupported, match="older than this client"):
        client.promql("t")


def test_an_answer_that_is_too_long_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "_BODY_BYTES_MAX", 100_000)
    _, client = serve(success(["x" * 200_000]))
    with pytest.raises(catchment.LimitExceeded, match="fewer series"):
        client.metrics()


def test_series_with_too_many_labels_are_refused(serve: Serve) -> None:
    _, client = serve(vector(*(({f"l{number}": "x"}, [1, "1"]) for number in range(300))))
    with pytest.raises(catchment.LimitExceeded, match="sum by"):
        client.promql("t")


def test_a_kept_connection_that_was_closed_is_replaced(serve: Serve) -> None:
    server, client = serve(success(["a"]))
    server.close_after_answer = True
    for _ in range(3):
        assert client.metrics() == ["a"]
        time.sleep(0.05)
    assert server.connections == 3


def test_a_query_ends_at_its_deadline(serve: Serve) -> None:
    def answer(*_: object) -> Answer:
        time.sleep(2)
        return success([])

    _, client = serve(answer)
    with pytest.raises(catchment.DeadlineExceeded, match=r"0\.2 s"):
        client.metrics(timeout=0.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"last": "1h"}, "step"),
        ({"step": "1m", "time": "now"}, "one instant"),
        ({"step": 0}, "greater than 0"),
        ({"step": "1mo", "last": "1y"}, "not always as long"),
        ({"time": datetime(2026, 1, 1)}, "time zone"),
        ({"step": 1, "start": 5, "end": 5}, "empty"),
    ],
)
def test_wrong_arguments_are_refused(serve: Serve, arguments: dict[str, Any], words: str) -> None:
    server, client = serve(success([]))
    with pytest.raises(catchment.BadRequest, match=words):
        client.promql("t", **arguments)
    assert server.requests == []


def test_times_are_those_that_were_given(serve: Serve) -> None:
    server, client = serve(vector())
    client.promql("t", time=datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=timezone.utc))
    assert float(dict(server.requests[0][2])["time"]) == -0.001
