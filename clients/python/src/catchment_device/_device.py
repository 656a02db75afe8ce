"""The device, the interface for applications. ``send`` fills the buffer, a thread delivers it."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import select
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Callable

from ._buffer import Buffer
from ._errors import (
    Closed,
    ConnectionFailed,
    DeviceError,
    EpochConflict,
    IdentityError,
    NotDelivered,
    Refused,
    StateError,
)
from ._link import Link, drain, explain, tls
from ._message import Reading, Timestamp, encode
from ._protocol import Backoff
from ._state import StateFile

_log = logging.getLogger("catchment_device")
_EPOCH_BYTES_MAX = 64
_REFUSALS_KEPT = 100
# Seconds that the ending thread may take after the time for delivery.
_FAREWELL = 1.0


class Device:
    """A device's connection to its gateway. Thread-safe; close it, or use it in a ``with`` statement.

    ``gateway``: ``"HOST:PORT"``; HOST must be in the gateway's certificate. ``identity``: the folder with
    ``cert.pem``, ``key.pem`` and ``ca.pem``; read again for each connection, so a renewed certificate takes effect.

    ``epoch``: 1 to 64 bytes that identify one life of the device; default: the state file's, otherwise random.
    ``state``: a file that keeps the epoch and unacknowledged messages across restarts; no other process may use it.
    ``state_sync``: with ``"lazy"``, messages survive the end of the process at any point, and a power cut except for
    the last ones; ``"always"`` syncs before ``send`` returns, so they survive a power cut too.

    ``buffer_max`` and ``buffer_bytes_max`` bound the unacknowledged messages. When the buffer is full,
    ``send`` raises ``BufferFull`` at once, or with ``when_full="block"`` after ``block_timeout`` seconds
    (``None``: it waits forever). Messages in the state file count, and are kept even if they exceed the bounds.

    ``on_error`` is called with a ``DeviceError`` for each refusal (``Refused``) and each failed connection, on the
    delivery thread; it must not block. Without it, they are logged to ``catchment_device``.

    The pause between attempts doubles from ``backoff_min`` to ``backoff_max`` seconds, minus a random part of up to
    half. If the gateway owes a response and is silent for ``ack_timeout`` seconds, the device reconnects.

    Raises ``IdentityError`` and ``StateError``. An unreachable gateway is not an error: the device keeps trying.
    """

    def __init__(
        self,
        gateway: str,
        identity: str | os.PathLike[str],
        *,
        epoch: str | None = None,
        state: str | os.PathLike[str] | None = None,
        state_sync: str = "lazy",
        buffer_max: int = 10_000,
        buffer_bytes_max: int = 16 * 1024 * 1024,
        when_full: str = "raise",
        block_timeout: float | None = None,
        on_error: Callable[[DeviceError], None] | None = None,
        connect_timeout: float = 10.0,
        ack_timeout: float = 60.0,
        backoff_min: float = 0.1,
        backoff_max: float = 30.0,
        close_timeout: float = 10.0,
    ) -> None:
        _require(state_sync in ("lazy", "always"), 'state_sync is "lazy" or "always"')
        _require(when_full in ("raise", "block"), 'when_full is "raise" or "block"')
        _require(buffer_max >= 1 and buffer_bytes_max >= 1, "a buffer holds at least 1 message and 1 byte")
        _require(0 < backoff_min <= backoff_max, "backoff_min is above 0 and at most backoff_max")
        _require(connect_timeout > 0 and ack_timeout > 0, "connect_timeout and ack_timeout are above 0")
        _require(
            epoch is None or 1 <= len(epoch.encode()) <= _EPOCH_BYTES_MAX,
            f"an epoch has 1 to {_EPOCH_BYTES_MAX} bytes",
        )
        self._gateway = gateway
        self._address = _address(gateway)
        self._identity = Path(identity)
        tls(self._identity)  # reports mistakes at once
        self._on_error = on_error
        self._connect_timeout = connect_timeout
        self._ack_timeout = ack_timeout
        self._backoff = Backoff(backoff_min, backoff_max)
        self._close_timeout = close_timeout
        self._wait = 0.0 if when_full == "raise" else block_timeout
        self._refusals: deque[Refused] = deque(maxlen=_REFUSALS_KEPT)
        self._refused = 0
        self._connected = False
        self._last_error: DeviceError | None = None
        self._pid = os.getpid()
        self._stop = False
        self._kept = state is not None
        self._closing = threading.Lock()
        file = None if state is None else StateFile(state, always_sync=state_sync == "always")
        try:
            self._epoch = _epoch(epoch, file)
            self._buffer = Buffer(file, buffer_max, buffer_bytes_max)
            self._wake, self._waker = socket.socketpair()
        except BaseException:
            if file:
                file.close()
            raise
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="catchment-device", daemon=True)
        _open.add(self)
        self._thread.start()

    # The public interface.

    def send(
        self,
        readings: Mapping[str, Reading] | None = None,
        /,
        *,
        ts: Timestamp | None = None,
        labels: Mapping[str, str] | None = None,
        **values: Reading,
    ) -> None:
        """Send readings of one moment: ``send(temperature=21.5)`` or ``send({"temperature": 21.5}, ts=…)``.

        A reading is a finite number, a boolean, or a text that is a state: ``send(mode="auto")``.
        ``ts``: Unix milliseconds or a ``datetime`` with a time zone; default: now. Metrics named ``ts`` or
        ``labels`` go into the mapping. Returns as soon as the message is in the buffer (and the state file).

        Raises ``InvalidReading`` (a ``ValueError``), ``BufferFull``, ``Closed``, ``StateError``, ``EpochConflict``;
        the message was then not accepted.
        """
        self._check_process()
        body = encode({**(readings or {}), **values}, ts, labels)
        self._buffer.put(body, self._wait)
        self._signal()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every message sent so far is acknowledged; raise ``NotDelivered`` after ``timeout`` s."""
        self._check_waiting()
        self._buffer.flush(timeout)

    def close(self, timeout: float | None = None) -> int:
        """Close: refuse more messages and wait up to ``timeout`` s (default ``close_timeout``) for acknowledgements.

        Returns the number of messages left in the state file for the next start; without a state file they are lost,
        and it raises ``NotDelivered``. Closing again does nothing.
        """
        self._check_waiting()
        self._buffer.refuse_more()
        deadline = time.monotonic() + (self._close_timeout if timeout is None else timeout)
        with self._closing:
            if self not in _open:
                return self.pending if self._kept else 0
            try:
                self._buffer.flush(max(0.0, deadline - time.monotonic()))
            except DeviceError as error:
                _log.debug("closing: %s", error)
            finally:
                self._end()
        left = self.pending
        if left and not self._kept:
            raise NotDelivered(f"{left} messages were not acknowledged before the device was closed", left)
        if left:
            _log.info("%d messages are kept in the state file", left)
        return left

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except NotDelivered as lost:
            if kind is None:
                raise
            # Do not replace the exception in flight.
            _log.error("%s", lost)

    @property
    def epoch(self) -> str:
        """The epoch within which messages are numbered."""
        return self._epoch

    @property
    def pending(self) -> int:
        """The number of unacknowledged messages."""
        return self._buffer.pending

    @property
    def acknowledged(self) -> int:
        """The number of messages acknowledged since the start, including refused ones."""
        return self._buffer.acknowledged

    @property
    def refused(self) -> int:
        """The number of refusals received since the start; at most 16 per message, none if the gateway is too busy."""
        return self._refused

    @property
    def refusals(self) -> tuple[Refused, ...]:
        """The last refusals, at most 100."""
        return tuple(self._refusals)

    @property
    def connected(self) -> bool:
        """Whether the device is connected now."""
        return self._connected

    @property
    def last_error(self) -> DeviceError | None:
        """Why the last connection failed or broke; ``None`` once something has been acknowledged since."""
        return self._last_error

    # The delivery thread.

    def _run(self) -> None:
        try:
            while not self._stop:
                try:
                    self._connect_and_serve()
                except (OSError, ConnectionFailed, IdentityError, StateError) as error:
                    self._connected = False
                    if not self._stop:
                        self._tell(self._failed(error))
                        self._pause(self._backoff.pause())
        except Closed:
            pass
        except EpochConflict as error:
            self._buffer.fail(error)
            self._tell(error)
        except BaseException as error:
            _log.exception("delivery ended because of a bug in this package")
            self._buffer.fail(DeviceError(f"delivery has ended: {error!r}"))
        finally:
            self._connected = False

    def _connect_and_serve(self) -> None:
        context = tls(self._identity)
        link = Link(self._address, context, self._connect_timeout, self._ack_timeout, self._wake)
        try:
            self._connected = True
            link.serve(self._epoch, self._buffer, lambda: self._stop, self._progress, self._take_refusal)
        finally:
            link.close()

    def _failed(self, error: Exception) -> DeviceError:
        if isinstance(error, DeviceError):
            return error
        advice = explain(error, self._gateway)
        failure = ConnectionFailed(f"{self._gateway}: {advice or 'no connection'} ({error})")
        failure.__cause__ = error
        return failure

    def _progress(self) -> None:
        self._backoff.reset()
        self._last_error = None

    def _take_refusal(self, refused: Refused) -> None:
        self._refused += 1
        self._refusals.append(refused)
        self._tell(refused)

    def _tell(self, error: DeviceError) -> None:
        known = self._last_error
        if not isinstance(error, Refused):
            self._last_error = error
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error failed")
        elif isinstance(error, Refused) or known is None or str(known) != str(error):
            # Log a repeated failure only once.
            _log.warning("%s", error if isinstance(error, (Refused, EpochConflict)) else f"{error}; trying again")

    def _pause(self, seconds: float) -> None:
        """Wait; closing ends the wait early, new messages do not."""
        deadline = time.monotonic() + seconds
        while not self._stop and (left := deadline - time.monotonic()) > 0:
            poll = select.select([self._wake], [], [], left)[0]
            if poll:
                drain(self._wake)

    # Helpers of both threads.

    def _signal(self) -> None:
        # If the socket is full, enough signals are pending; if it is closed, nothing waits for them.
        with suppress(OSError):
            self._waker.send(b"\0")

    def _end(self) -> None:
        """End the thread and close the state file."""
        self._stop = True
        self._signal()
        self._thread.join(_FAREWELL)
        self._buffer.end()
        _open.discard(self)
        if not self._thread.is_alive():
            self._wake.close()
            self._waker.close()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("the process was forked after the device was created: create it in the child process")

    def _check_waiting(self) -> None:
        self._check_process()
        if threading.current_thread() is self._thread:
            raise RuntimeError("on_error must not wait for delivery: it runs on the delivery thread")

    def _at_exit(self) -> None:
        if os.getpid() != self._pid:
            return
        self._end()
        if self.pending:
            what = "are kept in the state file" if self._kept else "are lost"
            _log.warning("the device was not closed: %d messages were not acknowledged and %s", self.pending, what)


_open: weakref.WeakSet[Device] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    for device in list(_open):
        device._at_exit()


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _address(gateway: str) -> tuple[str, int]:
    """Split ``HOST:PORT``; an IPv6 address is in brackets."""
    host, colon, port = gateway.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    try:
        host.encode("idna")
        number = int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        number = 0
    if not (host and colon and 1 <= number <= 65535):
        raise IdentityError(f"a gateway is HOST:PORT, {gateway!r} is not")
    return host, number


def _epoch(given: str | None, file: StateFile | None) -> str:
    """Choose the epoch; refuse a file with messages of another epoch."""
    stored = file.epoch() if file else None
    epoch = given or stored or secrets.token_hex(8)
    if file and epoch != stored:
        left = len(file.messages())
        if left:
            raise StateError(
                f"the state file holds {left} messages of epoch {stored!r}, not {epoch!r}: "
                "deliver them first, without an epoch or with theirs"
            )
        file.set_epoch(epoch)
    return epoch
