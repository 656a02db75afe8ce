"""Fake aggregators: for Arrow Flight and for the Prometheus API, over mutual TLS, answering as a test says."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import flight

TIME = pa.timestamp("ms", "UTC")
HEADER: dict[str, Any] = {
    "complete_until": "2026-11-22T10:15:00Z",
    "completeness": {
        "expected": 2,
        "behind": 1,
        "late_corrections": 3,
        "refused_readings": 4,
        "gateways": [
            {
                "site": "berlin",
                "gateway": "gw-1",
                "complete_until": "2026-11-22T10:15:00.250Z",
                "lag_ms": 1500,
                "connected": True,
                "late_corrections": 3,
                "refused_readings": 4,
            },
            {"site": "munich", "gateway": "gw-2", "complete_until": None, "lag_ms": None, "connected": False},
        ],
    },
    "gaps": [{"site": "berlin", "gateway": "gw-1", "from": None, "to": "2026-11-22T10:00:00Z", "batches": 2}],
}


def metadata(header: dict[str, Any] | None = None) -> dict[str, str]:
    whole = HEADER if header is None else header
    return {"catchment": json.dumps(whole), "complete_until": str(whole.get("complete_until"))}


def points(device: str, values: list[float | None], start_ms: int = 0) -> pa.Table:
    """A table with a label, in the form of an aggregator's batch."""
    columns = {
        "time": pa.array([start_ms + 60_000 * at for at in range(len(values))], TIME),
        "device": pa.array([device] * len(values)).dictionary_encode(),
        "mean": pa.array(values, pa.float64()),
    }
    return pa.table(columns).replace_schema_metadata(metadata())


class FakeFlight(flight.FlightServerBase):  # type: ignore[misc]
    """Answers each ticket with what ``answer`` returns, or raises what it raises."""

    def __init__(self, pki: Path, answer: Callable[[bytes], Any], identity: str = "aggregator") -> None:
        folder = pki / identity
        super().__init__(
            "grpc+tls://localhost:0",
            tls_certificates=[((folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes())],
            verify_client=True,
            root_certificates=(folder / "ca.pem").read_bytes(),
        )
        self.answer = answer
        self.tickets: list[bytes] = []
        self.url = f"https://localhost:{self.port}"

    def do_get(self, _: Any, ticket: Any) -> Any:
        self.tickets.append(ticket.ticket)
        answer = self.answer(ticket.ticket)
        if isinstance(answer, pa.Table):
            if int(pa.__version__.split(".")[0]) < 22:
                # It sends only the first dictionary of a column.
                answer = answer.unify_dictionaries()
            return flight.RecordBatchStream(answer)
        return answer


Answer = tuple[int, bytes]


class FakeHttp:
    """Answers each request with the status and the body that ``answer`` returns for its path and its form."""

    def __init__(
        self, pki: Path, answer: Callable[[str, dict[str, str]], Answer], identity: str = "aggregator"
    ) -> None:
        fake = self
        self.answer = answer
        self.requests: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.connections = 0
        self.close_after_answer = False
        folder = pki / identity
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        tls.load_verify_locations(folder / "ca.pem")
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(["h2", "http/1.1"])

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                if self.connection.selected_alpn_protocol() == "h2":
                    # An empty SETTINGS frame: all that `connect` reads.
                    self.connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                    self.connection.recv(1000)
                    return
                fake.connections += 1
                super().handle()

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self.reply("GET", parts.path, parts.query)

            def do_POST(self) -> None:
                self.reply("POST", self.path, self.rfile.read(int(self.headers["Content-Length"])).decode())

            def reply(self, method: str, path: str, query: str) -> None:
                form = parse_qsl(query, keep_blank_values=True)
                fake.requests.append((method, path, form))
                status, body = fake.answer(path, dict(form))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                # Without a word, as a server does that closes idle connections.
                self.close_connection = fake.close_after_answer

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> Any:
                connection, address = super().get_request()
                connection.settimeout(5)
                return tls.wrap_socket(connection, server_side=True), address

            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def success(data: Any, **more: Any) -> Answer:
    return 200, json.dumps({"status": "success", "data": data, **more}).encode()


def error(status: int, kind: str, words: str) -> Answer:
    return status, json.dumps({"status": "error", "errorType": kind, "error": words}).encode()


def batches(*tables: pa.Table) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()
