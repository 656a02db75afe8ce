"""A fake gateway: speaks the protocol over mutual TLS, and misbehaves as a test requires.

It counts like a naive model: ``counted(epoch)`` returns the accepted messages, in order. ``crash`` may lose accepted
messages that are not acknowledged, like a killed gateway.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

PATIENCE = 30.0

Message = tuple[int, dict[str, Any]]


class Cut(Exception):
    """The behaviour ended the connection."""


class Connection:
    def __init__(self, tls: ssl.SSLSocket, ordinal: int) -> None:
        self.tls = tls
        self.ordinal = ordinal
        self.line = 0
        self.life = 0
        self._rest = b""

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yields messages as they arrive, until the device closes the connection."""
        while True:
            while b"\n" not in self._rest:
                data = self.tls.recv(65536)
                if not data:
                    return
                self._rest += data
            line, self._rest = self._rest.split(b"\n", 1)
            self.line += 1
            yield json.loads(line)

    def put(self, answer: object) -> None:
        self.raw(json.dumps(answer).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        self.tls.sendall(data)

    def hello(self) -> str:
        for message in self.lines():
            return str(message["hello"]["epoch"])
        raise Cut

    def cut(self) -> None:
        """Ends without close_notify, like a broken network."""
        raise Cut


Behaviour = Callable[["FakeGateway", Connection], None]


class FakeGateway:
    """Listens on loopback; ``behaviour`` serves each connection on its own thread."""

    def __init__(
        self,
        pki: Path,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        version: ssl.TLSVersion | None = None,
    ) -> None:
        self.behaviour: Behaviour = behaviour or serve
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.connections = 0
        self.life = 0
        self.errors: list[BaseException] = []
        self._taken: dict[str, list[Message]] = {}
        self._durable: dict[str, int] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pki / "gateway" / "cert.pem", pki / "gateway" / "key.pem")
        self._tls.load_verify_locations(pki / "gateway" / "ca.pem")
        self._tls.verify_mode = ssl.CERT_REQUIRED
        if version:
            self._tls.minimum_version = self._tls.maximum_version = version
        self._listener = socket.create_server((host, 0))
        self.address = f"{'localhost' if host == '127.0.0.1' else host}:{self._listener.getsockname()[1]}"
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                tcp, _ = self._listener.accept()
            except OSError:
                return
            with self.changed:
                self.connections += 1
                self._sockets.add(tcp)
                self.changed.notify_all()
                self._start(self._serve, tcp, self.connections)

    def _serve(self, tcp: socket.socket, ordinal: int) -> None:
        tcp.settimeout(PATIENCE)
        try:
            tls = self._tls.wrap_socket(tcp, server_side=True)
        except OSError:
            tcp.close()
            return
        with self.lock:
            self._sockets.add(tls)
            if self._closed:
                tls.close()
        try:
            self.behaviour(self, Connection(tls, ordinal))
            with suppress(OSError):
                tls.unwrap()
        except (Cut, OSError):
            pass
        except BaseException as error:
            self.errors.append(error)
        tls.close()

    # The model.

    def highest(self, epoch: str) -> int:
        with self.lock:
            taken = self._taken.get(epoch)
            return taken[-1][0] if taken else 0

    def take(self, epoch: str, message: dict[str, Any]) -> int:
        """Counts a message, unless its number was accepted before; returns the highest number."""
        with self.changed:
            if message["seq"] > self.highest(epoch):
                self._taken.setdefault(epoch, []).append((message["seq"], message))
                self.changed.notify_all()
            return self.highest(epoch)

    def make_durable(self, epoch: str, seq: int) -> None:
        with self.lock:
            self._durable[epoch] = max(self._durable.get(epoch, 0), seq)

    def crash(self, chance: random.Random) -> None:
        """Loses some of the last messages that were not acknowledged as durable, and all connections."""
        with self.lock:
            self.life += 1
            for epoch, taken in self._taken.items():
                least = sum(1 for seq, _ in taken if seq <= self._durable.get(epoch, 0))
                del taken[chance.randint(least, len(taken)) :]

    def counted(self) -> list[dict[str, Any]]:
        """The values of all counted messages, except empty ones."""
        with self.lock:
            return [message["values"] for taken in self._taken.values() for _, message in taken if message["values"]]

    def messages(self) -> list[dict[str, Any]]:
        with self.lock:
            return [message for taken in self._taken.values() for _, message in taken]

    def wait(self, holds: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, PATIENCE), "waited in vain"

    def close(self) -> None:
        if isinstance(self.behaviour, Deaf):
            self.behaviour.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            self._closed = True
            for each in self._sockets:
                # Not SSLSocket.shutdown: after it, a reading thread would get bytes that are still encrypted.
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
            threads = list(self._threads)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        for each in self._sockets:
            each.close()
        assert self.errors == [], self.errors

    def __enter__(self) -> FakeGateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# Behaviours.


def welcome(gateway: FakeGateway, connection: Connection) -> str:
    epoch = connection.hello()
    with gateway.lock:
        connection.life = gateway.life
        ack = gateway.highest(epoch)
        gateway.make_durable(epoch, ack)
    connection.put({"welcome": {"epoch": epoch, "ack": ack}})
    return epoch


def serve(gateway: FakeGateway, connection: Connection) -> None:
    """Behaves like a correct gateway."""
    epoch = welcome(gateway, connection)
    for message in connection.lines():
        ack = gateway.take(epoch, message)
        gateway.make_durable(epoch, ack)
        connection.put({"ack": ack})


class Deaf:
    """Sends a welcome, then reads nothing until released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self, gateway: FakeGateway, connection: Connection) -> None:
        epoch = welcome(gateway, connection)
        assert self.released.wait(PATIENCE)
        for message in connection.lines():
            connection.put({"ack": gateway.take(epoch, message)})


class Chaos:
    """Random cuts, crashes, garbage and partial acknowledgements; behaves correctly after ``rounds`` connections."""

    def __init__(self, seed: int, rounds: int) -> None:
        self._chance = random.Random(seed)
        self._rounds = rounds

    def __call__(self, gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > self._rounds:
            serve(gateway, connection)
            return
        with gateway.lock:
            chance = random.Random(self._chance.random())
        if chance.random() < 0.1:
            connection.cut()
        epoch = welcome(gateway, connection)
        for message in connection.lines():
            with gateway.lock:
                if connection.life != gateway.life:
                    connection.cut()
                self._act(gateway, connection, chance, epoch, message)

    def _act(
        self,
        gateway: FakeGateway,
        connection: Connection,
        chance: random.Random,
        epoch: str,
        message: dict[str, Any],
    ) -> None:
        highest = gateway.take(epoch, message)
        act = chance.random()
        if act < 0.02:
            connection.cut()
        elif act < 0.04:
            gateway.crash(chance)
            connection.cut()
        elif act < 0.05:
            connection.raw(chance.choice([b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"ack":-1}\n', b"x" * 70_000]))
        elif act < 0.06:
            connection.put({"error": {"code": "too_old", "message": "no", "line": connection.line}})
        elif act < 0.3:
            ack = chance.randint(max(0, highest - 5), highest)
            gateway.make_durable(epoch, ack)
            connection.put({"ack": ack})
