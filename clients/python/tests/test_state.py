"""The state file: restarts, kills, damage, power cuts, and two devices with the same file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Callable

import pytest

from catchment_device import Device, StateError, StateLocked
from catchment_device._state import StateFile, Stored
from conftest import ROOT, run
from gateway import PATIENCE, Chaos, Connection, FakeGateway, serve

Fake = Callable[..., FakeGateway]
Make = Callable[..., Device]

# No server listens there.
NOWHERE = "127.0.0.1:1"


def python(script: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def snapshot(state: Path, to: Path) -> Path:
    """Copies a file in use, as a power cut would leave it. Uses another process: closing it here would unlock it."""
    to.mkdir()
    for name in (state.name, state.name + "-wal"):
        if (state.parent / name).exists():
            run("cp", state.parent / name, to / name)
    return to / state.name


def test_messages_and_epoch_survive_a_restart(fake: Fake, device: Make, tmp_path: Path) -> None:
    away = device(NOWHERE, state=tmp_path / "state")
    for number in range(10):
        away.send(x=number)
    assert away.close(0.0) == 10
    gateway = fake()
    again = device(gateway.address, state=tmp_path / "state")
    assert again.epoch == away.epoch
    again.send(x=10)
    again.flush(PATIENCE)
    assert again.close() == 0
    assert [values["x"] for values in gateway.counted()] == list(range(11))
    assert not (tmp_path / "state-wal").exists()


def test_a_killed_process_loses_nothing_and_repeats_nothing(fake: Fake, tmp_path: Path, pki: Path) -> None:
    """Every message for which ``send`` returned is counted; the one being sent at the kill may be counted too."""
    script = """
        import sys
        from catchment_device import Device
        gateway, identity, state, life = sys.argv[1:]
        device = Device(gateway, identity, state=state, backoff_min=0.001, backoff_max=0.01, ack_timeout=0.05,
                        buffer_max=200, when_full="block", on_error=lambda _: None)
        for number in range(400):
            device.send(x=int(life) * 1000 + number)
            print(number, flush=True)
        device.flush(20)
        device.close()
        print("end", flush=True)
    """
    gateway = fake(Chaos(7, rounds=60))
    chance = random.Random(7)
    lives = 6
    told = {}
    for life in range(lives):
        process = python(script, gateway.address, pki / "device", tmp_path / "state", life)
        assert process.stdout
        last = "-1"
        until = "end" if life == lives - 1 else str(chance.randint(0, 399))
        for line in process.stdout:
            last = line.strip()
            if last == until:
                break
        if until != "end":
            process.send_signal(signal.SIGKILL)
        # Includes the numbers that it printed before the kill.
        told[life] = max([int(n) for n in [last, *process.stdout.read().split()] if n != "end"], default=399)
        assert process.wait(PATIENCE) == (0 if until == "end" else -signal.SIGKILL)
        process.stdout.close()
    counted = [int(values["x"]) for values in gateway.counted()]
    assert len(counted) == len(set(counted))
    for life in range(lives):
        own = [x - life * 1000 for x in counted if x // 1000 == life]
        assert own == list(range(len(own)))
        assert own[-1] in (told[life], told[life] + 1)


def test_a_torn_file_delivers_a_prefix(fake: Fake, device: Make, tmp_path: Path) -> None:
    """Whatever part at the end of the log is missing or damaged, a prefix of the sent messages is delivered."""
    away = device(NOWHERE, state=tmp_path / "state")
    for number in range(60):
        away.send(x=number)
    whole = snapshot(tmp_path / "state", tmp_path / "whole")
    size = (tmp_path / "whole" / "state-wal").stat().st_size
    chance = random.Random(1)
    lengths = set()
    for trial in range(12):
        folder = tmp_path / str(trial)
        shutil.copytree(whole.parent, folder)
        with (folder / "state-wal").open("r+b") as log:
            at = chance.randrange(size // 3, size)
            if trial % 2:
                log.truncate(at)
            else:
                log.seek(at)
                log.write(chance.randbytes(min(512, size - at)))
        gateway = fake()
        again = device(gateway.address, state=folder / "state")
        again.flush(PATIENCE)
        again.close()
        counted = [int(values["x"]) for values in gateway.counted()]
        assert counted == list(range(len(counted)))
        lengths.add(len(counted))
    assert len(lengths) > 5, "the damage had an effect"


@pytest.mark.parametrize("connected_first", [False, True])
def test_numbers_forgotten_in_a_power_cut_are_not_used_again(
    fake: Fake, device: Make, tmp_path: Path, connected_first: bool
) -> None:
    """The file returns to an earlier state; new messages are still counted, and no old one twice."""

    def slow(gateway: FakeGateway, connection: Connection) -> None:
        if connection.ordinal > 1:
            return serve(gateway, connection)
        epoch = connection.hello()
        connection.put({"welcome": {"epoch": epoch, "ack": 0}})
        for message in connection.lines():
            gateway.take(epoch, message)

    gateway = fake(slow)
    first = device(gateway.address, state=tmp_path / "state")
    for number in range(5):
        first.send(x=number)
    gateway.wait(lambda: len(gateway.counted()) == 5)
    earlier = snapshot(tmp_path / "state", tmp_path / "earlier")
    for number in range(5, 15):
        first.send(x=number)
    gateway.wait(lambda: len(gateway.counted()) == 15)
    first._end()
    if not connected_first:
        # A run in between, which never reaches the gateway and is killed.
        between = device(NOWHERE, state=earlier)
        for number in range(15, 18):
            between.send(x=number)
        earlier = snapshot(earlier, tmp_path / "between")
    again = device(gateway.address, state=earlier)
    for number in range(15 if connected_first else 18, 25):
        again.send(x=number)
    again.flush(PATIENCE)
    assert again.close() == 0
    assert [values["x"] for values in gateway.counted()] == list(range(25))


def test_numbers_are_raised_in_the_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state", always_sync=True)
    for seq in range(1, 6):
        file.append(Stored(seq, seq < 3, b"{%d}" % seq))
    file.confirm(3, 1)
    file.append(Stored(7, True, b"{7}"))
    assert file.messages() == [
        Stored(1, True, b"{1}"),
        Stored(2, True, b"{2}"),
        Stored(4, True, b"{3}"),
        Stored(5, True, b"{4}"),
        Stored(6, True, b"{5}"),
        Stored(7, True, b"{7}"),
    ]
    file.forget(5)
    assert [message.seq for message in file.messages()] == [6, 7]
    file.close()


def test_two_devices_cannot_share_a_file(device: Make, tmp_path: Path, pki: Path) -> None:
    owner = device(NOWHERE, state=tmp_path / "state")
    with pytest.raises(StateLocked):
        device(NOWHERE, state=tmp_path / "state")
    script = """
        import sys
        from catchment_device import Device, StateLocked
        try:
            Device("127.0.0.1:1", sys.argv[1], state=sys.argv[2])
        except StateLocked:
            print("locked")
    """
    process = python(script, pki / "device", tmp_path / "state")
    assert process.communicate(timeout=PATIENCE)[0] == "locked\n"
    owner.send(x=1)
    assert owner.close(0.0) == 1
    assert device(NOWHERE, state=tmp_path / "state").pending == 1


def test_an_epoch_is_not_changed_under_its_messages(device: Make, tmp_path: Path) -> None:
    first = device(NOWHERE, state=tmp_path / "state", epoch="a")
    first.send(x=1)
    first.close(0.0)
    with pytest.raises(StateError, match="1 messages of epoch 'a'"):
        device(NOWHERE, state=tmp_path / "state", epoch="b")
    again = device(NOWHERE, state=tmp_path / "state")
    assert again.epoch == "a"


def test_files_that_are_not_state_files_are_not_touched(device: Make, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"some text, longer than a header of SQLite. " * 40)
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    for path in (text, foreign, tmp_path / "absent" / "state"):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(StateError):
            device(NOWHERE, state=path)
        assert (path.read_bytes() if path.exists() else None) == before


def test_a_message_that_cannot_be_stored_is_not_accepted(fake: Fake, device: Make, tmp_path: Path) -> None:
    gateway = fake()
    sender = device(gateway.address, state=tmp_path / "state")
    sender.send(x=1)
    sender.flush(PATIENCE)
    file = sender._buffer._state
    assert file
    pages = file._db.execute("PRAGMA page_count").fetchone()[0]
    file._db.execute(f"PRAGMA max_page_count={pages}")
    large = {f"{'m' * 150}_{number}": number for number in range(500)}
    with pytest.raises(StateError, match="full"):
        sender.send(large)
    assert sender.pending == 0
    file._db.execute("PRAGMA max_page_count=1000000")
    sender.send(large)
    sender.send(x=2)
    sender.close()
    assert [len(values) for values in gateway.counted()] == [1, 500, 1]


def test_more_stored_messages_than_the_buffer_holds_are_kept(fake: Fake, device: Make, tmp_path: Path) -> None:
    first = device(NOWHERE, state=tmp_path / "state")
    for number in range(50):
        first.send(x=number)
    first.close(0.0)
    gateway = fake()
    again = device(gateway.address, state=tmp_path / "state", buffer_max=10, when_full="block")
    again.send(x=50)
    again.close()
    assert [values["x"] for values in gateway.counted()] == list(range(51))


def test_an_unclosed_device_is_reported_at_exit(tmp_path: Path, pki: Path) -> None:
    script = """
        import logging, sys
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        from catchment_device import Device
        device = Device("127.0.0.1:1", sys.argv[1], on_error=lambda _: None)
        device.send(x=1)
    """
    out = python(script, pki / "device").communicate(timeout=PATIENCE)[0]
    assert out == "the device was not closed: 1 messages were not acknowledged and are lost\n"
