"""Clients of the frontend as a process of its own: `python -m tests.bench.apiload` prints one JSON line.

Each client sends its next request when it has the answer to the last one, on a connection that stays open. Written to
cost little: it shares the machine with what it measures.
"""

import argparse
import asyncio
import base64
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Iterator

_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
PROJECT = {"ownername": "alice", "projectname": "demo"}
PAGE = 100
URL = "http://sources.example/hello-2.8-1.src.rpm"


def gets(builds: int) -> Iterator[bytes]:
    pick = random.Random(1)  # noqa: S311 (the same requests in each run)
    while True:
        yield _head("GET", f"/api_3/build/{pick.randint(1, builds)}") + b"\r\n"


def lists(builds: int) -> Iterator[bytes]:
    """Pages of all builds, as a client that goes through them asks for them."""
    for offset in itertools.cycle(range(0, builds, PAGE)):
        query = f"ownername=alice&projectname=demo&limit={PAGE}&offset={offset}"
        yield _head("GET", f"/api_3/build/list?{query}") + b"\r\n"


def creates(login: str) -> Iterator[bytes]:
    body = json.dumps({**PROJECT, "pkgs": [URL]}).encode()
    head = _head("POST", "/api_3/build/create/url")
    head += b"Authorization: Basic " + base64.b64encode(login.encode()) + b"\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return itertools.repeat(head + body)


def _head(method: str, target: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: frontend\r\nAccept: */*\r\n".encode()


class Load:
    """All clients of one run. At most `most` requests, and none that begins after the deadline."""

    def __init__(self, requests: Iterator[bytes], most: int, seconds: float) -> None:
        self._requests = requests
        self._left = most
        self._deadline = time.perf_counter() + seconds
        self.times: list[float] = []
        self.refused: list[str] = []

    def next(self) -> bytes | None:
        if self._left <= 0 or time.perf_counter() >= self._deadline:
            return None
        self._left -= 1
        return next(self._requests)


class Client(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = bytearray()
        self._wanted = 0
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._load.next()
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._wanted:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            self._wanted = end + 4 + (int(length[1]) if length is not None else 0)
        if len(self._buffer) < self._wanted:
            return
        self._load.times.append(time.perf_counter() - self._sent)
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            self._load.refused.append(self._buffer[:500].decode(errors="replace"))
        self._buffer.clear()
        self._wanted = 0
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None or self._wanted:
            self._load.refused.append(f"the connection broke: {error}")
        if not self.done.done():
            self.done.set_result(None)


async def run(port: int, clients: int, load: Load) -> None:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(load), "127.0.0.1", port) for _ in range(clients)]
    await asyncio.gather(*(client.done for _, client in made))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("get", "list", "create"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--most", type=int, default=10**9, help="Requests.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--builds", type=int, required=True, help="Builds of the project, with the ids from 1 on.")
    given = parser.parse_args()
    login = sys.stdin.readline().strip() if given.kind == "create" else ""
    requests = {
        "get": lambda: gets(given.builds),
        "list": lambda: lists(given.builds),
        "create": lambda: creates(login),
    }
    load = Load(requests[given.kind](), given.most, given.seconds)
    began = time.perf_counter()
    asyncio.run(run(given.port, given.clients, load))
    answer = {"seconds": time.perf_counter() - began, "times": load.times, "refused": load.refused[:3]}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
