"""A dozen lines with `socket` and `ssl`: sends one JSON line and prints the reply.

    json_lines.py HOST PORT IDENTITY LINE
"""

import socket
import ssl
import sys

host, port, identity, line = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{identity}/ca.pem")
context.load_cert_chain(f"{identity}/cert.pem", f"{identity}/key.pem")
with socket.create_connection((host, int(port))) as plain:
    with context.wrap_socket(plain, server_hostname=host) as gateway:
        gateway.sendall(line.encode() + b"\n")
        print(gateway.makefile().readline(), end="")
