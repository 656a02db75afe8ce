"""Arrow Flight: a ticket out, record batches in."""

from __future__ import annotations

import re
import threading
from typing import Any, Callable

import pyarrow as pa
from pyarrow import flight

from ._errors import (
    AggregatorError,
    BadRequest,
    CatchmentError,
    DeadlineExceeded,
    LimitExceeded,
    PermissionDenied,
    ProtocolError,
    Unavailable,
    Unsupported,
)
from ._header import COMPLETE_UNTIL_KEY, HEADER_KEY, parse
from ._identity import Address, Identity, probe
from ._table import Table

# Largest message of an answer; an aggregator's batches are much smaller.
_MESSAGE_BYTES_MAX = 64 << 20
# Largest answer: twenty times what an aggregator sends unless it is configured otherwise.
_ROWS_MAX = 20_000_000
_BYTES_MAX = 4 << 30

_OPTIONS = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
    # As everything else here: no proxy.
    ("grpc.enable_http_proxy", 0),
]

# "Flight returned … error, with message: WORDS. gRPC client debug context: CODE:WORDS. Client context: …"
_WORDS = re.compile(
    r"(?:Flight returned [a-z ]* ?error, with message: )?(.*?)"
    r"(?:\. Detail: [^.]*?)?"
    r"(?:\. gRPC client debug context: .*|\. Client context: .*)?",
    re.DOTALL,
)
_CODE = re.compile(r"\. gRPC client debug context: ([A-Z_]+):")

_BY_CODE: dict[str, type[CatchmentError]] = {
    "INVALID_ARGUMENT": BadRequest,
    "OUT_OF_RANGE": BadRequest,
    "FAILED_PRECONDITION": BadRequest,
    "NOT_FOUND": BadRequest,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": PermissionDenied,
    "RESOURCE_EXHAUSTED": LimitExceeded,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNIMPLEMENTED": Unsupported,
}
# Where the text names no code.
_BY_CLASS: tuple[tuple[type[Exception], type[CatchmentError]], ...] = (
    (flight.FlightUnavailableError, Unavailable),
    (flight.FlightTimedOutError, DeadlineExceeded),
    (flight.FlightUnauthorizedError, PermissionDenied),
    (flight.FlightUnauthenticatedError, PermissionDenied),
    (pa.ArrowNotImplementedError, Unsupported),
    (pa.ArrowInvalid, BadRequest),
)


def failure(error: Exception, address: Address, timeout: float) -> CatchmentError:
    """The exception for a failed call, in the aggregator's words."""
    text = str(error)
    found = _CODE.search(text)
    code = found[1] if found else ""
    kind = _BY_CODE.get(code)
    if kind is None:
        kind = next((ours for theirs, ours in _BY_CLASS if isinstance(error, theirs)), AggregatorError)
        if kind is BadRequest and not found:
            # Not from the aggregator: pyarrow could not read what it sent.
            kind = ProtocolError
    whole = _WORDS.fullmatch(text)
    words = (whole[1] if whole else text).strip()
    if kind is Unsupported:
        # A server that does not know the method says nothing.
        words = words or f"{address} has no Arrow Flight: it is older than this client; upgrade it"
    words = words or code or type(error).__name__
    if kind is DeadlineExceeded:
        words += f" (timeout: {timeout:g} s)"
    return kind(words)


class FlightLink:
    """A connection of Arrow Flight; made anew when the identity's files change. Safe to use from several threads."""

    def __init__(self, address: Address, identity: Identity) -> None:
        """Connect at the first request."""
        self._address = address
        self._identity = identity
        self._lock = threading.Lock()
        self._client: Any = None
        self._stamp: Any = None

    def get(self, ticket: bytes, timeout: float) -> Table:
        """The answer to a request; ``timeout`` in seconds, of everything."""
        call: _Call | None = None
        try:
            call = _Call(self._current(), ticket, timeout)
            return _interruptible(call.run, call.stop)
        except (pa.ArrowException, flight.FlightError, KeyError, NotImplementedError) as error:
            if isinstance(error, flight.FlightUnavailableError) and "failed to connect" in str(error):
                # Find out why; raises.
                probe(self._address, self._identity, timeout)
            raise failure(error, self._address, timeout) from error

    def _current(self) -> Any:
        with self._lock:
            stamp = self._identity.stamp()
            if self._client is None or stamp != self._stamp:
                self._client = flight.FlightClient(
                    self._address.flight,
                    tls_root_certs=self._identity.pem("ca.pem"),
                    cert_chain=self._identity.pem("cert.pem"),
                    private_key=self._identity.pem("key.pem"),
                    generic_options=_OPTIONS,
                )
                self._stamp = stamp
            return self._client

    def close(self) -> None:
        """End the connection; the next request opens another."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


class _Call:
    """One call: runs on a thread of its own, and can be stopped from another."""

    def __init__(self, client: Any, ticket: bytes, timeout: float) -> None:
        self._client = client
        self._ticket = ticket
        self._options = flight.FlightCallOptions(timeout=timeout)
        self._reader: Any = None
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True
        if self._reader is not None:
            self._reader.cancel()

    def run(self) -> Table:
        self._reader = reader = self._client.do_get(flight.Ticket(self._ticket), self._options)
        schema = reader.schema
        metadata = dict(schema.metadata or {})
        header = metadata.get(HEADER_KEY)
        batches, rows, size = [], 0, 0
        while not self._stopped:
            try:
                chunk = reader.read_chunk()
            except StopIteration:
                break
            if chunk.app_metadata is not None and chunk.app_metadata.size:
                # Known only at the end: windows that turned out to be damaged.
                header = chunk.app_metadata.to_pybytes()
            batch = chunk.data
            if batch is None or batch.num_rows == 0:
                continue
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > _ROWS_MAX or size > _BYTES_MAX:
                reader.cancel()
                raise LimitExceeded(
                    f"the answer has more than {_ROWS_MAX:,} points or {_BYTES_MAX >> 30} GiB; narrow the selector or "
                    "the range, or use a longer step"
                )
            # An index beyond its dictionary would crash pyarrow when it is looked up.
            batch.validate(full=True)
            batches.append(batch)
        if header is None:
            raise ProtocolError("the answer has no header: is that an aggregator?")
        parsed = parse(header)
        metadata[HEADER_KEY] = header
        metadata.pop(COMPLETE_UNTIL_KEY, None)
        if parsed.complete_until is not None:
            metadata[COMPLETE_UNTIL_KEY] = parsed.complete_until.isoformat().encode()
        table = pa.Table.from_batches(batches, schema).replace_schema_metadata(metadata)
        return Table(table.unify_dictionaries(), parsed)


def _interruptible(work: Callable[[], Table], stop: Callable[[], None]) -> Table:
    """Run on another thread, so that Ctrl-C ends the wait: pyarrow's calls do not look for signals."""
    results: list[Table] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="catchment-query", daemon=True)
    thread.start()
    try:
        # Polars, once used, has signals restart a wait without end, so that Python does not see them.
        while thread.is_alive():
            thread.join(0.1)
    except BaseException:
        stop()
        raise
    if errors:
        raise errors[0]
    return results[0]
