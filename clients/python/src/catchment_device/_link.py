"""One connection to the gateway over mutual TLS and a non-blocking socket: a hello, then lines out and responses in.

Everything here runs on the delivery thread. A gateway applies backpressure by not reading: the socket accepts no more
data, the buffer fills, and ``send`` raises or waits. Responses are still read meanwhile.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Callable

from ._buffer import Buffer
from ._errors import ConnectionFailed, IdentityError, ProtocolError, Refused
from ._protocol import Ack, Answers, Refusal, Welcome, hello

# Bytes of lines per write.
_CHUNK_BYTES = 64 * 1024
# Maximum number of reads per round, so that a flood of responses cannot keep the device from writing.
_READS_MAX = 16
# Refusals of whole messages, which are acknowledged only after a later message was accepted.
_WHOLE = frozenset({"malformed", "too_long", "bad_sequence"})


def tls(identity: Path) -> ssl.SSLContext:
    """Read the identity folder: the device's certificate and key, and the roots that it trusts."""

    def password() -> str:
        raise IdentityError(f"{identity / 'key.pem'} is encrypted: a device needs a key without a password")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=str(identity / "ca.pem"))
        context.load_cert_chain(str(identity / "cert.pem"), str(identity / "key.pem"), password)
    except OSError as error:
        raise IdentityError(f"the identity {identity} (cert.pem, key.pem, ca.pem): {error}") from error
    return context


def _keep_alive(tcp: socket.socket) -> None:
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            with suppress(OSError):
                tcp.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Link:
    """A connection after its handshake."""

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        connect_timeout: float,
        ack_timeout: float,
        wake: socket.socket,
    ) -> None:
        """Connect; raise ``OSError`` on failure. ``wake`` is readable when there is something new to do."""
        tcp = socket.create_connection(address, timeout=connect_timeout)
        try:
            _keep_alive(tcp)
            self._socket = context.wrap_socket(tcp, server_hostname=address[0])
        except BaseException:
            tcp.close()
            raise
        self._socket.setblocking(False)
        self._wake = wake
        self._ack_timeout = ack_timeout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)
        self._answers = Answers()
        self._welcomed = False
        self._out = b""
        self._out_at = 0
        self._sent = 0
        # The numbers of the sent, unacknowledged lines; the first of them is line `_line`.
        self._lines: deque[int] = deque([0])
        self._line = 1
        self._replaced: set[int] = set()
        self._heard = time.monotonic()

    def serve(
        self,
        epoch: str,
        buffer: Buffer,
        stopping: Callable[[], bool],
        progress: Callable[[], None],
        refused: Callable[[Refused], None],
    ) -> None:
        """Deliver until ``stopping`` returns true; raise ``OSError`` or ``ConnectionFailed`` if the connection breaks.

        Calls ``progress`` when something was acknowledged, and ``refused`` for each refusal.
        """
        self._out = hello(epoch)
        while not stopping():
            before = buffer.acknowledged
            more = self._read(epoch, buffer, refused)
            if buffer.acknowledged > before:
                progress()
            # Write after reading, because responses can make more to write; later responses end the wait.
            blocked = self._write(buffer)
            if not more:
                self._wait(blocked, buffer)

    def _write(self, buffer: Buffer) -> bool:
        """Write until everything is written, or the socket would block: then return ``True``."""
        while True:
            if not self._out and self._welcomed:
                idle = not self._awaits(buffer)
                self._out, first, last = buffer.lines(self._sent, _CHUNK_BYTES)
                self._lines.extend(range(first, last + 1))
                self._sent = max(self._sent, last)
                if idle:
                    self._heard = time.monotonic()
            if not self._out:
                return False
            try:
                # After a blocked write, TLS requires the same bytes again.
                self._out_at += self._socket.send(memoryview(self._out)[self._out_at :])
            except ssl.SSLWantWriteError:
                return True
            except ssl.SSLWantReadError:
                return False
            if self._out_at == len(self._out):
                self._out, self._out_at = b"", 0

    def _read(self, epoch: str, buffer: Buffer, refused: Callable[[Refused], None]) -> bool:
        """Read the received responses; return whether there may be more."""
        for _ in range(_READS_MAX):
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            if not data:
                raise ConnectionFailed("the gateway closed the connection")
            self._heard = time.monotonic()
            highest = 0
            for answer in self._answers.feed(data):
                if isinstance(answer, Ack) and self._welcomed:
                    highest = max(highest, answer.ack)
                elif isinstance(answer, Welcome) and not self._welcomed:
                    if answer.epoch != epoch:
                        raise ProtocolError(f"welcome for epoch {answer.epoch!r}, hello was for {epoch!r}")
                    buffer.welcome(answer.ack)
                    self._welcomed = True
                    self._forget_lines(buffer)
                elif isinstance(answer, Refusal) and self._welcomed:
                    self._refused(answer, buffer, refused)
                else:
                    raise ProtocolError(f"answer out of place: {answer}")
            if highest:
                buffer.acknowledge(highest)
                self._forget_lines(buffer)
        return True

    def _refused(self, refusal: Refusal, buffer: Buffer, refused: Callable[[Refused], None]) -> None:
        seq = refusal.seq
        if seq is None and refusal.line is not None:
            at = refusal.line - self._line
            seq = self._lines[at] if 0 <= at < len(self._lines) else None
        body = None if seq is None else buffer.body(seq)
        refused(Refused(refusal.code, refusal.text, seq, None if body is None else body.decode()))
        if seq and body and refusal.code in _WHOLE and seq not in self._replaced:
            # Send an empty message with the same number. It is acknowledged, as a duplicate if a later message was
            # accepted meanwhile. Otherwise the refused one would stay unacknowledged until the next message.
            self._replaced.add(seq)
            self._lines.append(seq)
            self._out += b'{"seq":%d,"values":{}}\n' % seq

    def _forget_lines(self, buffer: Buffer) -> None:
        while self._lines and self._lines[0] <= buffer.acked:
            self._lines.popleft()
            self._line += 1
        self._replaced = {seq for seq in self._replaced if seq > buffer.acked}

    def _awaits(self, buffer: Buffer) -> bool:
        return not self._welcomed or self._sent > buffer.acked

    def _wait(self, blocked: bool, buffer: Buffer) -> None:
        """Wait for something to do, at most until ``ack_timeout`` has passed without a response."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
        self._selector.modify(self._socket, events)
        timeout = None
        if self._awaits(buffer) or self._out:
            timeout = self._heard + self._ack_timeout - time.monotonic()
            if timeout <= 0:
                raise ConnectionFailed(f"no answer for {self._ack_timeout} s")
        for key, _ in self._selector.select(timeout):
            if key.fileobj is self._wake:
                drain(self._wake)

    def close(self) -> None:
        """Close in order, as far as possible without blocking."""
        self._selector.close()
        with suppress(OSError, ValueError):
            self._socket.unwrap()
        self._socket.close()


def drain(wake: socket.socket) -> None:
    """Discard the pending signals."""
    with suppress(BlockingIOError):
        while wake.recv(4096):
            pass


# If the gateway refuses the certificate, TLS 1.3 reports that only after the handshake, in place of the first response.
def explain(error: Exception, gateway: str) -> str | None:
    """Explain errors that are common among users."""
    text = str(error).lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{gateway} does not prove its name with a certificate from a root in ca.pem"
    if isinstance(error, ssl.SSLError) and "alert" in text:
        return "the gateway refused this device's certificate: it is from another site or root, expired, or revoked"
    return None
