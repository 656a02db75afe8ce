"""``catchment.connect`` and ``Client.query`` against a fake aggregator that speaks Arrow Flight."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import pytest

pa = pytest.importorskip("pyarrow")
flight = pytest.importorskip("pyarrow.flight")

import catchment
from aggregator import HEADER, TIME, FakeFlight, batches, metadata, points
from catchment import _flight, _identity
from conftest import run

UTC = timezone.utc
Serve = Callable[..., catchment.Client]


@pytest.fixture
def serve(pki: Path) -> Iterator[Serve]:
    """Connects to a new fake aggregator that answers as given."""
    ends: list[Callable[[], Any]] = []

    def make(answer: Callable[[bytes], Any], **options: Any) -> catchment.Client:
        server = FakeFlight(pki, answer)
        client = catchment.connect(server.url, identity=pki / "operator", **options)
        ends.extend([server.shutdown, client.close])
        client.server = server  # type: ignore[attr-defined]
        return client

    yield make
    for end in reversed(ends):
        end()


def two_devices(_: bytes) -> Any:
    return pa.concat_tables([points("a", [1.0, None]), points("b", [3.0], 60_000)])


def test_an_answer_is_a_table(serve: Serve) -> None:
    client = serve(two_devices)
    table = client.query("temperature", last="1h", step="1m", by=["device"], agg=["mean"])
    assert len(table) == 3
    assert table.columns == ["time", "device", "mean"]
    arrow = table.to_arrow()
    assert arrow.schema.field("time").type == TIME
    assert arrow.column("mean").to_pylist() == [1.0, None, 3.0]
    assert arrow.column("device").to_pylist() == ["a", "a", "b"]
    assert pa.types.is_dictionary(arrow.schema.field("device").type)
    ticket = client.server.tickets[0]  # type: ignore[attr-defined]
    assert ticket.startswith(b"\x0a\x0btemperature")


def test_a_table_says_how_complete_it_is(serve: Serve) -> None:
    table = serve(two_devices).query("temperature")
    assert table.complete_until == datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
    assert (table.gateways_expected, table.gateways_behind) == (2, 1)
    assert (table.late_corrections, table.refused_readings) == (3, 4)
    first, second = table.gateways
    assert (first.site, first.gateway, first.connected) == ("berlin", "gw-1", True)
    assert first.complete_until == datetime(2026, 11, 22, 10, 15, 0, 250_000, tzinfo=UTC)
    assert (first.lag, second.lag, second.complete_until) == (timedelta(seconds=1.5), None, None)
    (gap,) = table.gaps
    assert (gap.start, gap.end, gap.batches) == (None, datetime(2026, 11, 22, 10, tzinfo=UTC), 2)
    assert repr(table) == (
        "<catchment.Table: 3 points, columns time, device, mean; complete until 2026-11-22T10:15:00+00:00; "
        "1 of 2 gateways behind; 1 gaps>"
    )


def test_an_answer_becomes_a_data_frame_of_pandas(serve: Serve) -> None:
    pandas = pytest.importorskip("pandas")
    frame = serve(two_devices).query("temperature").to_pandas()
    assert list(frame["device"]) == ["a", "a", "b"]
    assert str(frame["device"].dtype) == "category"
    assert str(frame["time"].dt.tz) == "UTC"
    assert frame["time"].iloc[1] == pandas.Timestamp("1970-01-01T00:01:00Z")
    assert frame["mean"].isna().tolist() == [False, True, False]


def test_an_answer_becomes_a_data_frame_of_polars(serve: Serve) -> None:
    polars = pytest.importorskip("polars")
    table = serve(two_devices).query("temperature")
    frame = table.to_polars()
    assert frame["device"].cast(polars.String).to_list() == ["a", "a", "b"]
    assert frame["mean"].to_list() == [1.0, None, 3.0]
    assert frame["time"].dtype == polars.Datetime("ms", "UTC")
    assert polars.DataFrame(table).equals(frame), "through Arrow's C stream interface"


def test_maps_become_dictionaries_in_pandas(serve: Serve) -> None:
    pytest.importorskip("pandas")
    maps = pa.map_(pa.utf8(), pa.float64())
    labels = pa.map_(pa.utf8(), pa.utf8())
    answer = pa.table(
        {
            "time": pa.array([0, 1], TIME),
            "labels": pa.array([[("room", "3")], []], labels),
            "state_times": pa.array([[("auto", 5.0), ("off", 0.0)], None], maps),
        }
    ).replace_schema_metadata(metadata())
    table = serve(lambda _: answer).query("mode", without="gateway")
    assert list(table.to_pandas()["labels"]) == [{"room": "3"}, {}]
    assert list(table.to_pandas()["state_times"]) == [{"auto": 5.0, "off": 0.0}, None]
    if "polars" in sys.modules:
        assert table.to_polars().shape == (2, 3)


def test_an_answer_without_points_has_its_columns(serve: Serve) -> None:
    table = serve(lambda _: points("a", []).slice(0, 0)).query("temperature")
    assert (len(table), table.columns) == (0, ["time", "device", "mean"])


def test_the_header_at_the_end_counts(serve: Serve) -> None:
    late = {"complete_until": "2026-11-22T09:00:00Z", "gaps": HEADER["gaps"] * 3}
    plain = points("a", [1.0, 2.0]).drop_columns(["device"])

    def stream() -> Iterator[Any]:
        yield from batches(plain)
        yield plain.to_batches()[0].slice(0, 0), json.dumps(late).encode()

    client = serve(lambda _: flight.GeneratorStream(plain.schema, stream()))
    table = client.query("temperature")
    assert table.complete_until == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert (len(table), len(table.gaps), table.gateways) == (2, 3, ())
    assert json.loads(table.to_arrow().schema.metadata[b"catchment"]) == late


REFUSALS: list[tuple[Callable[[], Exception], type[Exception], str]] = [
    (lambda: pa.ArrowInvalid("no such aggregate: p101"), catchment.BadRequest, "no such aggregate: p101"),
    (lambda: flight.FlightUnavailableError("starting"), catchment.Unavailable, "starting"),
    (lambda: flight.FlightUnauthorizedError("role device"), catchment.PermissionDenied, "role device"),
    (lambda: flight.FlightTimedOutError("two minutes"), catchment.DeadlineExceeded, "two minutes (timeout: 60 s)"),
    (lambda: flight.FlightCancelledError("stopped"), catchment.AggregatorError, "stopped"),
    (lambda: flight.FlightInternalError("defect"), catchment.AggregatorError, "defect"),
]


@pytest.mark.parametrize(("raised", "expected", "words"), REFUSALS)
def test_refusals_are_the_aggregators_words(
    serve: Serve, raised: Callable[[], Exception], expected: type[Exception], words: str
) -> None:
    def answer(_: bytes) -> Any:
        raise raised()

    client = serve(answer)
    with pytest.raises(expected) as caught:
        client.query("temperature")
    assert type(caught.value) is expected
    # A server in Python adds its traceback to some.
    assert str(caught.value).split(". Detail: Python")[0] == words


def failed(code: str, words: str) -> str:
    """What pyarrow says of a status, as seen with aggregators in Rust."""
    return (
        f"Flight returned internal error, with message: {words}. gRPC client debug context: {code}:{words}. "
        "Client context: IOError: Server never sent a data message. Detail: Internal"
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("RESOURCE_EXHAUSTED", catchment.LimitExceeded),
        ("INVALID_ARGUMENT", catchment.BadRequest),
        ("UNIMPLEMENTED", catchment.Unsupported),
        ("DATA_LOSS", catchment.AggregatorError),
    ],
)
def test_statuses_are_recognised(code: str, expected: type[Exception]) -> None:
    address = _identity.Address("https://localhost:1")
    error = _flight.failure(pa.ArrowException(failed(code, "words. And. more: x")), address, 60)
    assert type(error) is expected
    assert str(error).startswith("words. And. more: x")


def test_a_query_ends_at_its_deadline(serve: Serve) -> None:
    release = threading.Event()

    def answer(_: bytes) -> Any:
        release.wait(20)
        return points("a", [1.0])

    client = serve(answer)
    try:
        with pytest.raises(catchment.DeadlineExceeded, match=r"timeout: 0\.2 s"):
            client.query("temperature", timeout=0.2)
        with pytest.raises(TimeoutError):
            client.query("temperature", timeout=timedelta(seconds=0.1))
    finally:
        release.set()


def test_ctrl_c_ends_a_query(serve: Serve) -> None:
    # A job that a shell starts in the background ignores Ctrl-C, and its children do too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    release = threading.Event()

    def answer(_: bytes) -> Any:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        release.wait(20)
        return points("a", [1.0])

    client = serve(answer)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            client.query("temperature")
        assert time.monotonic() - started < 15
    finally:
        signal.signal(signal.SIGINT, before)
        release.set()


@pytest.mark.parametrize(
    "header",
    [None, b"", b"[]", b"{", b"[" * 100_000, b'{"gaps":[{}]}', b'{"gaps":5}', b'{"completeness":{"gateways":[7]}}',
     b'{"completeness":{"gateways":[{"site":"s","gateway":"g","lag_ms":1e300}]}}', b'{"completeness":{"behind":1e999}}',
     b'{"complete_until":"yesterday","gaps":[{"site":"a","gateway":"b","to":null}]}'],
)  # fmt: skip
def test_an_unreadable_header_is_refused(serve: Serve, header: bytes | None) -> None:
    answer = points("a", [1.0]).replace_schema_metadata(None if header is None else {"catchment": header})
    with pytest.raises(catchment.ProtocolError, match="header"):
        serve(lambda _: answer).query("temperature")


def test_a_batch_that_is_not_valid_is_refused(serve: Serve) -> None:
    beyond = pa.DictionaryArray.from_arrays(pa.array([0, 7], pa.int32()), pa.array(["a"]), safe=False)
    answer = pa.table({"time": pa.array([0, 1], TIME), "device": beyond}).replace_schema_metadata(metadata())
    with pytest.raises(catchment.ProtocolError, match="out of bounds"):
        serve(lambda _: answer).query("temperature").to_pandas()


def test_a_time_that_is_not_known_is_none(serve: Serve) -> None:
    answer = points("a", [1.0]).replace_schema_metadata({"catchment": b'{"complete_until":"9223372036854775807"}'})
    assert serve(lambda _: answer).query("temperature").complete_until is None


def test_an_answer_without_end_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = points("a", [1.0] * 1_000).drop_columns(["device"])
    sent = 0

    def stream() -> Iterator[Any]:
        nonlocal sent
        while True:
            sent += 1
            yield from batches(plain)

    monkeypatch.setattr(_flight, "_ROWS_MAX", 10_000)
    client = serve(lambda _: flight.GeneratorStream(plain.schema, stream()))
    with pytest.raises(catchment.LimitExceeded, match="longer step"):
        client.query("temperature")


def test_a_broken_answer_is_an_error_and_no_shorter_table(serve: Serve) -> None:
    plain = points("a", [1.0] * 1_000).drop_columns(["device"])

    def stream() -> Iterator[Any]:
        yield from batches(plain)
        raise flight.FlightInternalError("a block is damaged")

    client = serve(lambda _: flight.GeneratorStream(plain.schema, stream()))
    with pytest.raises(catchment.AggregatorError, match="a block is damaged"):
        client.query("temperature")


def test_several_threads_share_a_client(serve: Serve) -> None:
    client = serve(two_devices)
    lengths: list[int] = []
    threads = [threading.Thread(target=lambda: lengths.append(len(client.query("t")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert lengths == [3] * 8


def test_a_client_continues_after_close_and_with_another_identity(serve: Serve, pki: Path, tmp_path: Path) -> None:
    folder = tmp_path / "operator"
    shutil.copytree(pki / "operator", folder)
    server = serve(two_devices).server  # type: ignore[attr-defined]
    with catchment.connect(server.url, identity=folder) as client:
        assert len(client.query("t")) == 3
        client.close()
        assert len(client.query("t")) == 3
        (folder / "cert.pem").write_bytes(b"nothing")
        with pytest.raises(catchment.CatchmentError):
            client.query("t", timeout=5)
        shutil.copy(pki / "operator" / "cert.pem", folder)
        assert len(client.query("t")) == 3


def test_environment_variables_name_aggregator_and_identity(
    serve: Serve, pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CATCHMENT_AGGREGATOR", raising=False)
    monkeypatch.delenv("CATCHMENT_IDENTITY", raising=False)
    server = serve(two_devices).server  # type: ignore[attr-defined]
    with pytest.raises(catchment.IdentityError, match="CATCHMENT_AGGREGATOR"):
        catchment.connect()
    monkeypatch.setenv("CATCHMENT_AGGREGATOR", server.url)
    with pytest.raises(catchment.IdentityError, match="CATCHMENT_IDENTITY"):
        catchment.connect()
    monkeypatch.setenv("CATCHMENT_IDENTITY", str(pki / "operator"))
    with catchment.connect() as client:
        assert len(client.query("t")) == 3
        assert server.url in repr(client)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://localhost:1", "always encrypted"),
        ("localhost:7700", "https://HOST:PORT"),
        ("https://localhost", "port is missing"),
        ("https://localhost:x", "https://HOST:PORT"),
        ("https://localhost:99999", "https://HOST:PORT"),
        ("https://:1", "host is missing"),
        ("https://localhost:1/api", "path"),
        ("https://ada@localhost:1", "names a user"),
    ],
)
def test_wrong_addresses_are_refused(pki: Path, url: str, words: str) -> None:
    with pytest.raises(catchment.IdentityError, match=words):
        catchment.connect(url, identity=pki / "operator")


def test_what_cannot_be_reached_is_unavailable(serve: Serve, pki: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(catchment.Unavailable, match=f"localhost:{port} cannot be reached"):
            catchment.connect(f"https://localhost:{port}", identity=pki / "operator")
    client = serve(two_devices)
    client.server.shutdown()  # type: ignore[attr-defined]
    with pytest.raises(ConnectionError):
        client.query("t", timeout=5)


def test_a_server_that_says_nothing_is_given_up(pki: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(catchment.Unavailable, match="timed out"):
            catchment.connect(f"https://localhost:{silent.getsockname()[1]}", identity=pki / "operator", timeout=0.2)


def test_a_server_of_another_role_is_refused(pki: Path) -> None:
    server = FakeFlight(pki, two_devices, identity="gateway")
    try:
        with pytest.raises(catchment.PermissionDenied, match=r"not an aggregator: .*gateway"):
            catchment.connect(server.url, identity=pki / "operator")
    finally:
        server.shutdown()


def test_an_identity_of_another_root_is_refused(serve: Serve, pki: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stranger"
    folder.mkdir()
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
        "-subj", "/CN=x", "-keyout", "key.pem", "-out", "cert.pem", cwd=folder)  # fmt: skip
    url = serve(two_devices).server.url  # type: ignore[attr-defined]
    shutil.copy(folder / "cert.pem", folder / "ca.pem")
    with pytest.raises(catchment.PermissionDenied, match="does not prove its name"):
        catchment.connect(url, identity=folder)
    shutil.copy(pki / "operator" / "ca.pem", folder)
    # gRPC in C++ closes without a word; an aggregator sends an alert.
    with pytest.raises((catchment.PermissionDenied, catchment.Unavailable), match="this identity"):
        catchment.connect(url, identity=folder)


def test_an_unusable_identity_is_named(tmp_path: Path, pki: Path) -> None:
    with pytest.raises(catchment.IdentityError, match="catchment-certs issue operator"):
        catchment.connect("https://localhost:1", identity=tmp_path / "nowhere")
    shutil.copytree(pki / "operator", tmp_path / "mixed")
    shutil.copy(pki / "device" / "key.pem", tmp_path / "mixed")
    with pytest.raises(catchment.IdentityError, match="mixed"):
        catchment.connect("https://localhost:1", identity=tmp_path / "mixed")


def test_without_pyarrow_the_import_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "try: import catchment\n"
        "except ImportError as error: print(error)\n"
        "import catchment_device; print(catchment_device.Device)"
    )
    source = str(Path(catchment.__file__).parent.parent)
    out = run("env", f"PYTHONPATH={source}", sys.executable, "-c", script)
    assert "pip install pyarrow" in out
    assert "catchment_device" in out, "which needs nothing"
