"""Delivery to a gateway that cuts connections, loses messages, stays silent, or sends nonsense."""

from __future__ import annotations

import os
import random
import ssl
import threading
import warnings
from pathlib import Path
from typing import Callable

import pytest

from catchment_device import (
    BufferFull,
    Closed,
    ConnectionFailed,
    Device,
    DeviceError,
    EpochConflict,
    IdentityError,
    NotDelivered,
    ProtocolError,
)
from gateway import PATIENCE, Chaos, Connection, Deaf, FakeGateway, serve, welcome

Fake = Callable[..., FakeGateway]
Make = Callable[..., Device]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_readings_arrive_with_time_and_labels(fake: Fake, device: Make, version: ssl.TLSVersion) -> None:
    gateway = fake(version=version)
    sender = device(gateway.address)
    sender.send(temperature=21.5, door_open=True)
    sender.send({"temperature": 20}, ts=1_700_000_000_000, labels={"room": "3"})
    sender.flush(PATIENCE)
    first, second = gateway.messages()
    assert first["seq"] == 1
    assert first["values"] == {"temperature": 21.5, "door_open": True}
    assert abs(first["ts"] - second["ts"]) > 0
    assert second == {"seq": 2, "ts": 1_700_000_000_000, "values": {"temperature": 20}, "labels": {"room": "3"}}
    assert (sender.pending, sender.acknowledged, sender.refused, sender.connected) == (0, 2, 0, True)
    assert sender.close() == 0


@pytest.mark.parametrize("seed", range(8))
def test_every_message_counts_once_whatever_the_gateway_does(
    fake: Fake, device: Make, seed: int, tmp_path: Path
) -> None:
    """Threads send, the gateway misbehaves, and with a state file the device is restarted at random moments."""
    chance = random.Random(seed)
    gateway = fake(Chaos(seed, rounds=20))
    options = {"state": tmp_path / "state", "state_sync": chance.choice(["lazy", "always"])} if seed % 2 else {}
    numbers = 150
    lives = 5 if options else 1
    expected = []
    for life in range(lives):
        bound = chance.choice([1, 7, 1000])
        sender = device(gateway.address, when_full="block", buffer_max=bound, ack_timeout=0.05, **options)

        def work(thread: int, sender: Device = sender, life: int = life) -> None:
            for number in range(numbers):
                sender.send(x=life * 1_000_000 + thread * 1_000 + number)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        expected += [life * 1_000_000 + t * 1_000 + number for t in range(2) for number in range(numbers)]
        if life < lives - 1:
            assert sender.close(0.0) == sender.pending
    sender.flush(PATIENCE)
    counted = [values["x"] for values in gateway.counted()]
    assert sorted(counted) == expected
    for life in range(lives):
        for which in range(2):
            base = life * 1_000_000 + which * 1_000
            own = [x for x in counted if base <= x < base + 1_000]
            assert own == sorted(own), "a thread's messages keep their order"


def test_a_resent_message_is_the_same(fake: Fake, device: Make) -> None:
    seen: list[dict[str, object]] = []

    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > 3:
            return serve(gateway, connection)
        epoch = connection.hello()
        connection.put({"welcome": {"epoch": epoch, "ack": 0}})
        for message in connection.lines():
            seen.append(message)
            connection.cut()

    gateway = fake(behaviour)
    sender = device(gateway.address)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert len(seen) == 3
    assert all(message == gateway.messages()[0] for message in seen)


def test_the_buffer_is_bounded_and_nothing_is_dropped(fake: Fake, device: Make) -> None:
    deaf = Deaf()
    gateway = fake(deaf)
    sender = device(gateway.address, buffer_max=500)
    for number in range(500):
        sender.send(x=number)
    for _ in range(3):
        with pytest.raises(BufferFull):
            sender.send(x=-1)
    assert sender.pending == 500
    with pytest.raises(NotDelivered) as late:
        sender.flush(0.01)
    assert late.value.pending == 500
    deaf.released.set()
    sender.flush(PATIENCE)
    sender.send(x=500)
    sender.flush(PATIENCE)
    assert [values["x"] for values in gateway.counted()] == list(range(501))


def test_the_buffer_is_bounded_in_bytes(fake: Fake, device: Make) -> None:
    deaf = Deaf()
    sender = device(fake(deaf).address, buffer_bytes_max=1_000_000)
    large = {f"metric_{number}": number for number in range(5_000)}
    with pytest.raises(BufferFull):
        for _ in range(100):
            sender.send(large)
    assert 1 <= sender.pending <= 15
    deaf.released.set()
    sender.flush(PATIENCE)


def test_a_full_buffer_can_block(fake: Fake, device: Make) -> None:
    deaf = Deaf()
    gateway = fake(deaf)
    impatient = device(gateway.address, buffer_max=1, when_full="block", block_timeout=0.01)
    impatient.send(x=0)
    with pytest.raises(BufferFull):
        impatient.send(x=-1)
    patient = device(gateway.address, buffer_max=1, when_full="block")
    patient.send(x=1)
    blocked = threading.Thread(target=lambda: patient.send(x=2))
    blocked.start()
    assert blocked.is_alive()
    deaf.released.set()
    blocked.join(PATIENCE)
    assert not blocked.is_alive()
    patient.flush(PATIENCE)
    impatient.flush(PATIENCE)
    assert sorted(values["x"] for values in gateway.counted()) == [0, 1, 2]


def test_closing_wakes_a_send_that_waits_for_room(fake: Fake, device: Make) -> None:
    sender = device(fake(Deaf()).address, buffer_max=1, when_full="block")
    sender.send(x=1)
    outcome: list[BaseException] = []

    def send() -> None:
        try:
            sender.send(x=2)
        except Closed as error:
            outcome.append(error)

    blocked = threading.Thread(target=send)
    blocked.start()
    with pytest.raises(NotDelivered) as lost:
        sender.close(0.0)
    assert lost.value.pending == 1
    blocked.join(PATIENCE)
    assert len(outcome) == 1
    with pytest.raises(Closed):
        sender.send(x=3)
    assert sender.close() == 0


def test_with_closes_and_does_not_hide_an_exception(pki: Path, fake: Fake) -> None:
    gateway = fake()
    with Device(gateway.address, pki / "device") as sender:
        sender.send(x=1)
    assert gateway.counted() == [{"x": 1}]
    with pytest.raises(KeyError), Device(fake(Deaf()).address, pki / "device", close_timeout=0.0) as sender:
        sender.send(x=1)
        raise KeyError
    with pytest.raises(NotDelivered), Device(fake(Deaf()).address, pki / "device", close_timeout=0.0) as sender:
        sender.send(x=1)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xfe\x00\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"[" * 100_000 + b"\n",
        b"x" * 70_000,
        b'{"ack":true}\n',
        b'{"ack":-1}\n',
        b'{"ack":"7"}\n',
        b'{"ack":' + b"9" * 5_000 + b"}\n",
        b'{"ack":2}\n',
        b'{"welcome":{"epoch":"e","ack":0}}\n',
    ],
)
def test_nonsense_ends_that_connection_only(fake: Fake, device: Make, nonsense: bytes) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > 1:
            return serve(gateway, connection)
        epoch = welcome(gateway, connection)
        for _ in connection.lines():
            connection.raw(nonsense)
        assert epoch

    errors: list[DeviceError] = []
    gateway = fake(behaviour)
    sender = device(gateway.address, epoch="e", on_error=errors.append)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert [type(error) for error in errors] == [ProtocolError]
    assert gateway.counted() == [{"x": 1}]


@pytest.mark.parametrize(
    "first",
    [
        {"ack": 1},
        {"welcome": {"epoch": "other", "ack": 0}},
        {"welcome": {"epoch": "e"}},
        {"error": {"code": "malformed", "message": "an epoch has 1 to 64 bytes", "line": 1}},
    ],
)
def test_a_wrong_first_answer_ends_the_connection(fake: Fake, device: Make, first: object) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > 1:
            return serve(gateway, connection)
        connection.hello()
        connection.put(first)
        assert list(connection.lines()) == []

    errors: list[DeviceError] = []
    sender = device(fake(behaviour).address, epoch="e", on_error=errors.append)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert [type(error) for error in errors] == [ProtocolError]


def test_unknown_responses_are_ignored(fake: Fake, device: Make) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        epoch = welcome(gateway, connection)
        for message in connection.lines():
            connection.put({"notice": {"text": "of a later version"}})
            connection.put({"ack": gateway.take(epoch, message), "more": 1})

    gateway = fake(behaviour)
    sender = device(gateway.address)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert gateway.connections == 1


def test_refusals_are_reported_and_do_not_stop_delivery(fake: Fake, device: Make) -> None:
    """A message refused as a whole gets no acknowledgement of its own; a partly refused one does."""

    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        epoch = welcome(gateway, connection)
        for message in connection.lines():
            values = message["values"]
            if values.get("x") == 2:
                connection.put({"error": {"code": "too_long", "message": "a line", "line": connection.line}})
                continue
            if values.get("x") == 1:
                refusal = {"code": "too_old", "message": "old", "line": connection.line, "seq": message["seq"]}
                connection.put({"error": refusal})
            connection.put({"ack": gateway.take(epoch, message)})

    errors: list[DeviceError] = []
    gateway = fake(behaviour)
    sender = device(gateway.address, on_error=errors.append)
    for number in (0, 1, 2):
        sender.send({"x": number}, ts=1)
    sender.flush(PATIENCE)
    assert [(r.code, r.text, r.seq, r.body) for r in sender.refusals] == [
        ("too_old", "old", 2, '{"ts":1,"values":{"x":1.0}}'),
        ("too_long", "a line", 3, '{"ts":1,"values":{"x":2.0}}'),
    ]
    assert errors == list(sender.refusals)
    assert (sender.refused, sender.acknowledged, gateway.connections) == (2, 3, 1)
    sender.send(x=3)
    sender.flush(PATIENCE)
    assert [values["x"] for values in gateway.counted()] == [0, 1, 3]


def test_a_failing_callback_does_no_harm(fake: Fake, device: Make, caplog: pytest.LogCaptureFixture) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        epoch = welcome(gateway, connection)
        for message in connection.lines():
            connection.put({"error": {"code": "too_old", "message": "old"}})
            connection.put({"ack": gateway.take(epoch, message)})

    def fail(_: DeviceError) -> None:
        for waiting in (sender.flush, sender.close):
            with pytest.raises(RuntimeError, match="must not wait"):
                waiting()
        raise KeyError("mistake")

    sender = device(fake(behaviour).address, on_error=fail)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert "on_error failed" in caplog.text
    assert "KeyError: 'mistake'" in caplog.text
    logging = device(fake(behaviour).address, on_error=None)
    logging.send(x=1)
    logging.flush(PATIENCE)
    assert "refused: old (too_old)" in caplog.text


def test_the_device_reconnects_from_a_silent_gateway_but_not_from_an_idle_one(fake: Fake, device: Make) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > 1:
            return serve(gateway, connection)
        welcome(gateway, connection)
        assert len(list(connection.lines())) == 1

    errors: list[DeviceError] = []
    gateway = fake(behaviour)
    sender = device(gateway.address, ack_timeout=0.2, on_error=errors.append)
    sender.send(x=1)
    sender.flush(PATIENCE)
    assert [str(error) for error in errors] == ["no answer for 0.2 s"]
    with gateway.changed:
        assert not gateway.changed.wait_for(lambda: gateway.connections > 2, 0.6)
    sender.send(x=2)
    sender.flush(PATIENCE)
    assert (gateway.connections, gateway.counted()) == (2, [{"x": 1}, {"x": 2}])


def test_another_sender_of_the_epoch_is_noticed(fake: Fake, device: Make) -> None:
    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        epoch = connection.hello()
        connection.put({"welcome": {"epoch": epoch, "ack": 5 if connection.ordinal == 1 else 100}})
        if connection.ordinal == 1:
            for _ in connection.lines():
                connection.cut()
        assert list(connection.lines()) == []

    sender = device(fake(behaviour).address)
    sender.send(x=1)
    with pytest.raises(EpochConflict):
        sender.flush(PATIENCE)
    with pytest.raises(EpochConflict):
        sender.send(x=2)
    assert sender.pending == 1


def test_an_epoch_continues_above_the_gateways_highest_number(fake: Fake, device: Make) -> None:
    gateway = fake()
    for life in range(3):
        sender = device(gateway.address, epoch="boot")
        for number in range(10):
            sender.send(x=life * 10 + number)
        sender.close()
    assert [values["x"] for values in gateway.counted()] == list(range(30))


def test_an_acknowledgement_may_cover_an_earlier_connection(fake: Fake, device: Make) -> None:
    """Messages sent on a broken connection may be accepted after the welcome of the next one."""

    def behaviour(gateway: FakeGateway, connection: Connection) -> None:
        epoch = connection.hello()
        connection.put({"welcome": {"epoch": epoch, "ack": 0}})
        for message in connection.lines():
            if connection.ordinal == 1:
                gateway.take(epoch, message)
                if message["seq"] == 100:
                    connection.cut()
            else:
                connection.put({"ack": gateway.take(epoch, message)})

    errors: list[DeviceError] = []
    gateway = fake(behaviour)
    sender = device(gateway.address, on_error=errors.append)
    for number in range(100):
        sender.send(x=number)
    sender.flush(PATIENCE)
    assert not any(isinstance(error, ProtocolError) for error in errors)
    assert len(gateway.counted()) == 100


def test_only_the_named_gateway_of_the_own_root_is_trusted(fake: Fake, device: Make, pki: Path, tmp_path: Path) -> None:
    told = threading.Event()
    gateway = fake(host="127.0.0.2")
    sender = device(gateway.address, on_error=lambda _: told.set())
    sender.send(x=1)
    assert told.wait(PATIENCE)
    assert isinstance(sender.last_error, ConnectionFailed)
    assert "does not prove" in str(sender.last_error)
    sender._end()
    assert gateway.counted() == []


def test_invalid_arguments_are_reported_at_once(pki: Path, tmp_path: Path) -> None:
    for address in ("", "localhost", "localhost:", ":7600", "localhost:0", "localhost:65536", "::1:7600", "a:b"):
        with pytest.raises(IdentityError, match="HOST:PORT"):
            Device(address, pki / "device")
    with pytest.raises(IdentityError):
        Device("localhost:1", tmp_path)
    wrong: list[dict[str, object]] = [
        {"epoch": ""},
        {"epoch": "e" * 65},
        {"when_full": "drop"},
        {"state_sync": "often"},
        {"buffer_max": 0},
        {"backoff_min": 0},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match=r"is|has|holds|above"):
            Device("localhost:1", pki / "device", **options)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_gets_an_error(fake: Fake, device: Make) -> None:
    sender = device(fake().address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            sender.send(x=1)
        except RuntimeError:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    sender.send(x=2)
    sender.flush(PATIENCE)
