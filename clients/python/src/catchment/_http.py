"""The Prometheus API over HTTPS: forms out, JSON in."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from typing import Any
from urllib.parse import urlencode

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
from ._identity import Address, Identity, connect, refusal

# Largest answer.
_BODY_BYTES_MAX = 512 << 20
_CHUNK_BYTES = 256 << 10
# Connections that are kept for the next request.
_IDLE_MAX = 4

Form = list[tuple[str, str]]

_BY_STATUS: dict[int, type[CatchmentError]] = {
    400: BadRequest,
    401: PermissionDenied,
    403: PermissionDenied,
    404: Unsupported,
    405: Unsupported,
    413: BadRequest,
    422: BadRequest,
    429: LimitExceeded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlineExceeded,
}


class HttpLink:
    """Connections for HTTP/1.1. Safe to use from several threads."""

    def __init__(self, address: Address, identity: Identity) -> None:
        """Connect at the first request."""
        self._address = address
        self._identity = identity
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._stamp: Any = None

    def ask(self, method: str, path: str, form: Form, timeout: float) -> dict[str, Any]:
        """The JSON object that answers a request; ``timeout`` in seconds, of everything."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                connection, used = self._take(timeout)
                try:
                    status, body = connection.exchange(method, path, form, deadline)
                    break
                except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError) as error:
                    connection.close()
                    # The other side may have closed a kept connection meanwhile. Every request here only reads.
                    if not used:
                        raise Unavailable(f"{self._address} closed the connection: {error}") from error
                except BaseException:
                    connection.close()
                    raise
        except (TimeoutError, socket.timeout) as error:  # Two classes before Python 3.10.
            if isinstance(error, CatchmentError):
                raise
            raise DeadlineExceeded(f"{self._address} did not answer within {timeout:g} s") from error
        except http.client.IncompleteRead as error:
            raise Unavailable(f"{self._address} closed the connection within an answer") from error
        except http.client.HTTPException as error:
            raise ProtocolError(f"{self._address} does not answer as an aggregator: {error!r}") from error
        except OSError as error:
            if isinstance(error, CatchmentError):
                raise
            raise refusal(error, self._address) from error
        self._give_back(connection)
        return self._answer(status, body)

    def _take(self, timeout: float) -> tuple[_Connection, bool]:
        with self._lock:
            stamp = self._identity.stamp()
            if stamp != self._stamp:
                self._close_idle()
                self._stamp = stamp
            if self._idle:
                return self._idle.pop(), True
        return _Connection(self._address, self._identity.tls("http/1.1"), timeout), False

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            if connection.open and len(self._idle) < _IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def _answer(self, status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
            if not isinstance(answer, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError) as error:
            if status in (404, 405, 501):
                raise self._unsupported() from error
            raise ProtocolError(f"{self._address} answers status {status} without readable JSON: {error}") from error
        if status == 200 and answer.get("status") == "success":
            return answer
        kind = str(answer.get("errorType", ""))
        words = str(answer.get("error") or f"status {status}")
        if kind == "timeout":
            raise DeadlineExceeded(words)
        if kind == "not_found":
            raise Unsupported(words)
        raise _BY_STATUS.get(status, AggregatorError)(words)

    def _unsupported(self) -> Unsupported:
        return Unsupported(f"{self._address} has no Prometheus API: it is older than this client; upgrade it")

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """End all connections; the next request opens another."""
        with self._lock:
            self._close_idle()


class _Connection:
    """One connection."""

    def __init__(self, address: Address, tls: ssl.SSLContext, timeout: float) -> None:
        try:
            self._socket = connect(address, tls, timeout)
        except Unavailable as error:
            cause = error.__cause__
            if isinstance(cause, ssl.SSLError) and "PROTOCOL" in str(cause).upper():
                raise Unsupported(
                    f"{address} speaks no HTTP/1.1: it is older than this client and has no Prometheus API; upgrade it"
                ) from error
            raise
        self._http = http.client.HTTPConnection(address.host, address.port)
        self._http.sock = self._socket
        self.open = True

    def exchange(self, method: str, path: str, form: Form, deadline: float) -> tuple[int, bytes]:
        """A request and its answer; ``deadline`` by the monotonic clock."""
        self._limit(deadline)
        headers = {"Accept": "application/json"}
        encoded = urlencode(form)
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            self._http.request(method, path, encoded.encode(), headers)
        else:
            self._http.request(method, f"{path}?{encoded}" if encoded else path, headers=headers)
        response = self._http.getresponse()
        body = bytearray()
        while True:
            self._limit(deadline)
            chunk = response.read1(_CHUNK_BYTES)
            if not chunk:
                break
            body += chunk
            if len(body) > _BODY_BYTES_MAX:
                raise LimitExceeded(
                    f"the answer has more than {_BODY_BYTES_MAX >> 20} MiB; select fewer series or a longer step"
                )
        response.close()
        if response.length:
            raise http.client.IncompleteRead(bytes(body[:0]), response.length)
        self.open = not response.will_close
        return response.status, bytes(body)

    def _limit(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._socket.settimeout(remaining)

    def close(self) -> None:
        self.open = False
        self._http.close()
        self._socket.close()
