"""`python -m copr_operator.builder.agent.connect PROXY HOST PORT`: standard input and output as a connection.

How ssh (ProxyCommand) and git:// (core.gitProxy) get through the proxy of egress.py. Started for every connection, so
it imports nothing but the standard library.
"""

import os
import selectors
import socket
import sys

_CHUNK = 64 * 1024


def main(arguments: list[str]) -> int:
    proxy, host, port = arguments
    address, _, proxy_port = proxy.rpartition(":")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with socket.create_connection((address, int(proxy_port))) as connection:
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # a byte at a time: what follows belongs to the server
            byte = connection.recv(1)
            if not byte:
                break
            head += byte
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if " 200 " not in f"{status} ":
            sys.stderr.write(f"{status.partition(' ')[2] or 'no answer of the proxy'}\n")
            return 1
        _relay(connection)
    return 0


def _relay(connection: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(connection, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj == 0:
                    data = os.read(0, _CHUNK)
                    if data:
                        connection.sendall(data)
                    else:
                        selector.unregister(0)
                        connection.shutdown(socket.SHUT_WR)
                else:
                    data = connection.recv(_CHUNK)
                    if not data:
                        return
                    _write_all(data)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
