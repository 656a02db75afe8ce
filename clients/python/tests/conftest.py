"""Certificates, made once by ``catchment-certs`` in the folder CATCHMENT_BIN, otherwise by ``openssl``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from catchment_device import Device
from gateway import Behaviour, FakeGateway

ROOT = Path(__file__).resolve().parent.parent


def run(*command: object, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with Catchment's programs."""
    folder = os.environ.get("CATCHMENT_BIN")
    if not folder:
        pytest.skip("CATCHMENT_BIN does not name the folder of catchment-gateway and the other programs")
    path = Path(folder).resolve()
    assert (path / "catchment-gateway").exists(), f"CATCHMENT_BIN={folder}: no catchment-gateway there"
    return path


def _by_openssl(folder: Path) -> None:
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2,
        "-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem", cwd=folder)  # fmt: skip
    for name, alternative in (
        ("gateway", "DNS:localhost,IP:127.0.0.1,URI:spiffe://t/site/s/gateway/g"),
        ("device", "URI:spiffe://t/site/s/device/d"),
        ("aggregator", "DNS:localhost,IP:127.0.0.1,URI:spiffe://t/aggregator/a"),
        ("operator", "URI:spiffe://t/operator/o"),
    ):
        (folder / name).mkdir()
        (folder / "extensions").write_text(f"subjectAltName={alternative}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}/key.pem", "-out", "request", cwd=folder)  # fmt: skip
        run("openssl", "x509", "-req", "-in", "request", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
            "-days", 2, "-extfile", "extensions", "-out", f"{name}/cert.pem", cwd=folder)  # fmt: skip
        shutil.copy(folder / "root.pem", folder / name / "ca.pem")


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the identities ``gateway``, ``device``, ``aggregator`` and ``operator``."""
    folder = tmp_path_factory.mktemp("pki")
    if programs := os.environ.get("CATCHMENT_BIN"):
        certs = Path(programs).resolve() / "catchment-certs"
        run(certs, "init", "--dir", "pki", cwd=folder)
        run(certs, "issue", "gateway", "--dir", "pki", "--site", "s", "--name", "g", "--out", "gateway",
            "--host", "localhost", "127.0.0.1", cwd=folder)  # fmt: skip
        run(certs, "issue", "device", "--dir", "pki", "--site", "s", "--name", "d", "--out", "device", cwd=folder)
        run(certs, "issue", "aggregator", "--dir", "pki", "--name", "a", "--out", "aggregator",
            "--host", "localhost", "127.0.0.1", cwd=folder)  # fmt: skip
        run(certs, "issue", "operator", "--dir", "pki", "--name", "o", "--out", "operator", cwd=folder)
    elif shutil.which("openssl"):
        _by_openssl(folder)
    else:
        pytest.skip("certificates need CATCHMENT_BIN or openssl")
    return folder


@pytest.fixture
def fake(pki: Path) -> Iterator[Callable[..., FakeGateway]]:
    """Creates fake gateways and closes them at the end."""
    made: list[FakeGateway] = []

    def make(behaviour: Behaviour | None = None, **options: object) -> FakeGateway:
        made.append(FakeGateway(pki, behaviour, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def device(pki: Path) -> Iterator[Callable[..., Device]]:
    """Creates devices with short pauses; those still open at the end are closed without waiting."""
    made: list[Device] = []

    def make(gateway: str, **options: object) -> Device:
        settings: dict[str, object] = {"backoff_min": 0.001, "backoff_max": 0.02, "on_error": lambda _: None}
        settings.update(options)
        made.append(Device(gateway, pki / "device", **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each._end()
