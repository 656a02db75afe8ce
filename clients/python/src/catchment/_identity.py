"""The aggregator's address and the operator's identity folder: what proves each side to the other."""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._errors import IdentityError, PermissionDenied, ProtocolError, Unavailable

_AGGREGATOR = re.compile(r"spiffe://[^/]+/aggregator/[^/]+")
# Number of the error of OpenSSL: the revocation list is no longer valid.
_CRL_HAS_EXPIRED = 12
_PEM_BYTES_MAX = 1 << 20
# What an HTTP/2 client says first: the preface, and settings without any.
_HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


class Address:
    """``https://HOST:PORT`` of an aggregator."""

    def __init__(self, url: str) -> None:
        """Check the address; raise ``IdentityError``."""
        self.url = url
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except (ValueError, AttributeError) as error:
            raise IdentityError(f"{url!r} is not an aggregator's address: {error}; write https://HOST:PORT") from error
        wrong = None
        if parts.scheme != "https":
            wrong = "connections are always encrypted, so the scheme is https"
        elif not host:
            wrong = "the host is missing"
        elif not port:
            wrong = "the port is missing or invalid"
        elif parts.path not in ("", "/") or parts.query or parts.fragment:
            wrong = "it has a path"
        elif parts.username is not None:
            wrong = "it names a user; the certificate identifies you"
        if wrong or not host or not port:
            raise IdentityError(f"{url!r} is not an aggregator's address: {wrong}; write https://HOST:PORT")
        self.host: str = host
        self.port: int = port

    @property
    def flight(self) -> str:
        """The address for Arrow Flight."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"grpc+tls://{host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Identity:
    """An identity folder: ``cert.pem``, ``key.pem``, ``ca.pem`` and, if there is one, ``crl.pem``."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self.folder = folder

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes when a file of the folder does."""
        stamps = []
        for name in ("cert.pem", "key.pem", "ca.pem", "crl.pem"):
            try:
                stat = (self.folder / name).stat()
                stamps.append((stat.st_mtime_ns, stat.st_size))
            except OSError:
                stamps.append((0, 0))
        return tuple(stamps)

    def pem(self, name: str) -> bytes:
        """A file of the folder; raises ``IdentityError``."""
        try:
            with (self.folder / name).open("rb") as file:
                return file.read(_PEM_BYTES_MAX)
        except OSError as error:
            raise self._unusable(error) from error

    def tls(self, alpn: str) -> ssl.SSLContext:
        """A TLS configuration that speaks one protocol; raises ``IdentityError``."""

        def password() -> str:
            raise IdentityError(f"{self.folder / 'key.pem'} is encrypted: use a key without a password")

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([alpn])
        try:
            context.load_verify_locations(cafile=str(self.folder / "ca.pem"))
            context.load_cert_chain(str(self.folder / "cert.pem"), str(self.folder / "key.pem"), password)
            if (self.folder / "crl.pem").exists():
                context.load_verify_locations(cafile=str(self.folder / "crl.pem"))
                context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        except OSError as error:
            raise self._unusable(error) from error
        return context

    def _unusable(self, error: OSError) -> IdentityError:
        return IdentityError(
            f"the identity {self.folder} cannot be used: {error}; pass the folder with cert.pem, key.pem and ca.pem "
            "that `catchment-certs issue operator` made"
        )


def connect(address: Address, tls: ssl.SSLContext, timeout: float) -> ssl.SSLSocket:
    """Open a connection and check that the other side is an aggregator; ``timeout`` in seconds."""
    try:
        tcp = socket.create_connection((address.host, address.port), timeout=timeout)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"{address} cannot be reached: {error}") from error
    try:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = tls.wrap_socket(tcp, server_hostname=address.host)
    except OSError as error:
        tcp.close()
        raise refusal(error, address) from error
    except BaseException:
        tcp.close()
        raise
    certificate: Any = connection.getpeercert() or {}
    names = [str(value) for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    if not any(map(_AGGREGATOR.fullmatch, names)):
        connection.close()
        raise PermissionDenied(f"{address} is not an aggregator: its certificate is for {names or 'nobody'}")
    return connection


def probe(address: Address, identity: Identity, timeout: float) -> None:
    """Check that both sides accept each other; ``timeout`` in seconds.

    Arrow Flight reports neither why a connection fails nor whose certificate was presented. With TLS 1.3 a client
    learns that its certificate is refused only when it reads, so this reads the first bytes of the aggregator's HTTP/2.
    """
    with connect(address, identity.tls("h2"), timeout) as connection:
        try:
            connection.sendall(_HTTP2_HELLO)
            first = connection.recv(1)
        except OSError as error:
            raise refusal(error, address) from error
    if not first:
        raise Unavailable(f"{address} closed the connection at once: perhaps it refuses this identity's certificate")


def refusal(error: OSError, address: Address) -> Exception:
    """What a failed handshake, or the first read after it, means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code == _CRL_HAS_EXPIRED:
            return IdentityError(f"crl.pem of the identity has expired: renew it with `catchment-certs crl` ({error})")
        return PermissionDenied(f"{address} does not prove its name with a certificate from a root in ca.pem: {error}")
    text = str(error).lower()
    if isinstance(error, ssl.SSLError) and "alert" in text and "protocol" not in text:
        return PermissionDenied(
            f"{address} refuses this identity's certificate: it is from another root, expired, or revoked ({error})"
        )
    if isinstance(error, ssl.SSLError) and "wrong_version_number" in text:
        return ProtocolError(f"{address} does not speak TLS: {error}")
    return Unavailable(f"{address} cannot be reached: {error}")
