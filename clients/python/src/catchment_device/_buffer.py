"""The buffer of unacknowledged messages: bounded, numbered, and in the state file if there is one.

Invariant under the lock: the numbers of the buffered messages are ``acked + 1 .. next - 1`` without a gap.
Until the first welcome, numbers from ``_first`` up are tentative (see ``_state``).
"""

from __future__ import annotations

import threading
import time

from ._errors import BufferFull, Closed, DeviceError, EpochConflict, NotDelivered, ProtocolError, StateError
from ._state import StateFile, Stored

# Approximate memory of a message object beside its text.
OVERHEAD_BYTES = 128


class Buffer:
    """A thread-safe buffer; waiting threads are woken by progress, failure and closing."""

    def __init__(self, state: StateFile | None, messages_max: int, bytes_max: int) -> None:
        self._changed = threading.Condition()
        self._state = state
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._bodies: dict[int, bytes] = {}
        self._bytes = 0
        self._confirmed = False
        self._closed = False
        self._ended = False
        self._failure: DeviceError | None = None
        self.accepted = 0
        self.acknowledged = 0
        stored = state.messages() if state else []
        first = stored[0].seq if stored else 1
        if [message.seq for message in stored] != list(range(first, first + len(stored))):
            raise StateError("the state file has gaps in its numbers: another program changed it")
        self._acked = first - 1
        self._next = first
        self._first = first
        for message in stored:
            self._add(message.body)
            if message.final:
                self._first = self._next
        # The highest number that may have been sent.
        self._offered = self._first - 1

    def _add(self, body: bytes) -> None:
        self._bodies[self._next] = body
        self._bytes += len(body) + OVERHEAD_BYTES
        self._next += 1
        self.accepted += 1

    @property
    def pending(self) -> int:
        """The number of unacknowledged messages."""
        return len(self._bodies)

    def _has_room(self, body: bytes) -> bool:
        # An empty buffer accepts any message: one larger than the byte bound would otherwise never fit.
        fits = self._bytes + len(body) + OVERHEAD_BYTES <= self._bytes_max or not self._bodies
        return fits and len(self._bodies) < self._messages_max

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise Closed("the device is closed")

    def put(self, body: bytes, wait: float | None) -> None:
        """Add a message; if there is no room, wait up to ``wait`` seconds for it (``None``: forever)."""
        deadline = None if wait is None else time.monotonic() + wait
        with self._changed:
            self._check()
            while not self._has_room(body):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise BufferFull(
                        f"{self.pending} messages ({self._bytes} bytes) wait for the gateway: no room for another"
                    )
                self._changed.wait(left)
                self._check()
            if self._state:
                self._state.append(Stored(self._next, self._confirmed, body))
            self._add(body)

    def welcome(self, ack: int) -> None:
        """Process the response to a hello: the epoch's highest durable number."""
        with self._changed:
            self._check_open()
            if not self._confirmed:
                self._confirm(ack)
            elif ack > self._offered:
                raise EpochConflict(
                    f"the gateway has message {ack} of this epoch, but this device sent only {self._offered}: "
                    "another device uses the same certificate and epoch, or a copy of the same state file"
                )
            self._settle(ack)

    def _confirm(self, ack: int) -> None:
        """Make tentative numbers final: raise them above all numbers that the gateway has."""
        shift = max(0, ack + 1 - self._first)
        if self._state:
            self._state.confirm(self._first, shift)
        if shift:
            # All messages with final numbers are durable, because a higher number is.
            tentative = [self._bodies.pop(seq) for seq in range(self._first, self._next)]
            self._settle(self._first - 1)
            self._acked = ack
            self._next = ack + 1 + len(tentative)
            self._bodies = dict(enumerate(tentative, ack + 1))
        self._offered = max(self._offered, ack)
        self._confirmed = True

    def acknowledge(self, ack: int) -> None:
        """Process an acknowledgement. It may cover messages sent on an earlier connection only."""
        with self._changed:
            self._check_open()
            if ack > self._offered:
                raise ProtocolError(f"the gateway acknowledged message {ack}, but {self._offered} was the last sent")
            self._settle(ack)

    def _settle(self, ack: int) -> None:
        if ack <= self._acked:
            return
        for seq in range(self._acked + 1, min(ack + 1, self._next)):
            self._bytes -= len(self._bodies.pop(seq)) + OVERHEAD_BYTES
            self.acknowledged += 1
        self._acked = ack
        self._changed.notify_all()
        if self._state:
            self._state.forget(ack)

    def lines(self, after: int, bytes_max: int) -> tuple[bytes, int, int]:
        """Return lines of messages above ``after``, about ``bytes_max`` bytes, and their first and last number.

        If there are none, the last number is below the first.
        """
        with self._changed:
            self._check_open()
            first = last = max(after, self._acked) + 1
            parts: list[bytes] = []
            size = 0
            while last < self._next and size < bytes_max:
                parts.append(b'{"seq":%d,%s\n' % (last, self._bodies[last][1:]))
                size += len(parts[-1])
                last += 1
            self._offered = max(self._offered, last - 1)
            return b"".join(parts), first, last - 1

    @property
    def acked(self) -> int:
        """The highest acknowledged number."""
        return self._acked

    def body(self, seq: int) -> bytes | None:
        """Return an unacknowledged message."""
        with self._changed:
            return self._bodies.get(seq)

    def flush(self, timeout: float | None) -> None:
        """Wait until everything accepted so far is acknowledged."""
        with self._changed:
            target = self.accepted

            def done() -> bool:
                return self.acknowledged >= target or self._failure is not None or self._ended

            self._changed.wait_for(done, timeout)
            if self.acknowledged >= target:
                return
            if self._failure is not None:
                raise self._failure
            self._check_open()
            left = target - self.acknowledged
            raise NotDelivered(f"{left} messages were not acknowledged within {timeout} s", left)

    def refuse_more(self) -> None:
        """Refuse further messages: ``put`` raises ``Closed`` from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, failure: DeviceError) -> None:
        """End delivery permanently: waiting and later calls raise ``failure``."""
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _check_open(self) -> None:
        if self._ended:
            raise Closed("the device is closed")

    def end(self) -> None:
        """Close the state file; nothing more is sent or acknowledged."""
        with self._changed:
            self._closed = self._ended = True
            if self._state:
                self._state.close()
                self._state = None
            self._changed.notify_all()
