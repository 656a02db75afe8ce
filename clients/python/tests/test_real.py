"""Tests against the real programs in the folder CATCHMENT_BIN, with an independent count."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catchment_device import ConnectionFailed, Device, DeviceError
from conftest import ROOT, run
from gateway import PATIENCE

REPOSITORY = ROOT.parent.parent


class System:
    """Trust root, aggregator and gateway in a folder, with the names from the repository's README."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        run(programs / "catchment-certs", "init", "--dir", "pki", cwd=folder)
        self.issue("aggregator", "--name", "centre", "--host", "localhost", "127.0.0.1")
        self.issue("gateway", "--site", "berlin", "--name", "gw-1", "--host", "localhost", "127.0.0.1")
        self.issue("device", "--site", "berlin", "--name", "press-17")
        self.issue("device", "--site", "munich", "--name", "press-18")
        self.issue("operator", "--name", "ada")
        self.device = folder / "pki/site/berlin/device/press-17"
        _, self.aggregator = self.start(
            "catchment-aggregator", "--identity", "pki/aggregator/centre", "--data", "data/aggregator"
        )
        self.gateway_process, self.gateway = self.start_gateway("127.0.0.1:0")

    def issue(self, role: str, *arguments: str) -> None:
        run(self.programs / "catchment-certs", "issue", role, "--dir", "pki", *arguments, cwd=self.folder)

    def start(self, program: str, *arguments: str, listen: str = "127.0.0.1:0") -> tuple[subprocess.Popen[str], str]:
        """Starts a server; returns it and its address once it is ready."""
        with (self.folder / f"{program}.log").open("a") as log:
            process = subprocess.Popen(
                [str(self.programs / program), *arguments, "--listen", listen, "--log", "warn"],
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.processes.append(process)
        assert process.stdout
        ready = process.stdout.readline()
        found = re.match(r"ready .*:(\d+)$", ready)
        assert found, f"{program}: {ready!r} {(self.folder / f'{program}.log').read_text()}"
        return process, f"localhost:{found[1]}"

    def start_gateway(self, listen: str, *arguments: str) -> tuple[subprocess.Popen[str], str]:
        return self.start(
            "catchment-gateway", "--identity", "pki/site/berlin/gateway/gw-1", "--data", "data/gateway",
            "--aggregator", f"https://{self.aggregator}", "--window", "1s", "--grace", "1s", *arguments,
            listen=listen,
        )  # fmt: skip

    def kill_gateway(self) -> None:
        self.gateway_process.send_signal(signal.SIGKILL)
        self.gateway_process.wait(PATIENCE)

    def restart_gateway(self, *arguments: str) -> None:
        port = self.gateway.rpartition(":")[2]
        self.gateway_process, _ = self.start_gateway(f"127.0.0.1:{port}", *arguments)

    def query(self, selector: str, start: int, end: int, expected: int) -> dict[str, Any]:
        """Queries until the expected number of readings is counted; returns that point."""
        deadline = time.monotonic() + PATIENCE
        while True:
            out = run(
                self.programs / "catchment", "query", selector, "--from", start, "--to", end, "--agg",
                "count,sum,min,max", "--format", "json", "--aggregator", f"https://{self.aggregator}",
                "--identity", "pki/operator/ada", cwd=self.folder,
            )  # fmt: skip
            points = [point for series in json.loads(out)["series"] for point in series["points"]]
            if (points and points[0]["count"] >= expected) or time.monotonic() > deadline:
                return points[0] if points else {}
            time.sleep(0.1)

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def system(programs: Path, tmp_path: Path) -> Iterator[System]:
    made: System | None = None
    try:
        made = System(programs, tmp_path)
        yield made
    finally:
        if made:
            made.end()


def test_aggregates_are_correct_when_the_gateway_is_killed_midway(system: System, tmp_path: Path) -> None:
    start = int(time.time()) - 1000
    values = [math.sin(number) * 100 for number in range(6_000)]
    settings: dict[str, Any] = {"state": tmp_path / "state", "backoff_max": 0.5, "on_error": lambda _: None}
    device = Device(system.gateway, system.device, **settings)
    for number, value in enumerate(values):
        if number in (1_500, 3_000):
            # Killed with messages in flight: accepted but unacknowledged ones are resent.
            system.kill_gateway()
        if number in (1_700, 3_300):
            system.restart_gateway()
        if number == 4_500:
            device.close(0.0)
            device = Device(system.gateway, system.device, **settings)
        device.send({"temperature": value}, ts=start * 1000 + number * 100, labels={"room": str(number % 3)})
    device.flush(PATIENCE)
    assert (device.pending, device.refused, device.close()) == (0, 0, 0)
    point = system.query("temperature", start, start + 600, len(values))
    assert point["count"] == len(values)
    assert point["sum"] == math.fsum(values)
    assert (point["min"], point["max"]) == (min(values), max(values))


def test_refusals_of_a_real_gateway(system: System, tmp_path: Path) -> None:
    system.kill_gateway()
    system.restart_gateway("--message-bytes-max", "4096")
    with Device(system.gateway, system.device, on_error=lambda _: None) as device:
        device.send({"old": 1}, ts=1)
        device.send({f"metric_{number}": number for number in range(1_000)})
        device.flush(PATIENCE)
        assert [refused.code for refused in device.refusals] == ["too_old", "too_long"]
        assert [refused.seq for refused in device.refusals] == [1, 2]
        start = int(time.time()) - 100
        device.send({"fine": 1}, ts=start * 1000)
        device.flush(PATIENCE)
        assert device.acknowledged == 3
    assert system.query("fine", start - 10, start + 10, 1)["count"] == 1


def test_a_device_of_another_site_gets_a_connection_error(system: System) -> None:
    errors: list[DeviceError] = []
    stranger = system.folder / "pki/site/munich/device/press-18"
    with Device(system.gateway, stranger, state=system.folder / "state", on_error=errors.append) as device:
        device.send(x=1)
        assert device.close(1.0) == 1
    assert errors
    assert all(isinstance(error, ConnectionFailed) for error in errors)


def blocks(document: Path, heading: str) -> list[str]:
    """The Python examples in a section of a document, up to the next heading of the same level."""
    rank = heading.index(" ")
    text = document.read_text()
    section = re.split(rf"^#{{1,{rank}}} ", text.split(heading + "\n", 1)[1], flags=re.MULTILINE)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize(
    ("document", "heading", "least"),
    [
        (REPOSITORY / "README.md", "### A device in Python", 1),
        (ROOT / "README.md", "## Send", 4),
        (REPOSITORY / "README.md", "### pandas", 1),
        (ROOT / "README.md", "## Ask", 3),
    ],
)
def test_examples_of_the_documents_run(system: System, document: Path, heading: str, least: int) -> None:
    """Runs each example unchanged except for the port."""
    examples = blocks(document, heading)
    assert len(examples) >= least
    if any("import catchment\n" in example for example in examples):
        pytest.importorskip("pyarrow.flight")
        pytest.importorskip("pandas")
    gateway_port = system.gateway.rpartition(":")[2]
    for example in examples:
        assert "localhost:7600" in example or '"localhost", 7600' in example or "localhost:7700" in example
        script = system.folder / "example.py"
        script.write_text(example.replace("localhost:7700", system.aggregator).replace("7600", gateway_port))
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, script.name],
            cwd=system.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        assert done.stderr == ""
