"""What comes before a body is bounded, whatever a client sends; ordinary requests are not disturbed by that. Without an
address it listens by each family that there is."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from copr_operator import serving
from copr_operator.backend.settings import BackendSettings
from copr_operator.serving import MAX_HEAD, Http, Serving


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was sent; of /early nothing is read."""
    if scope["path"] == "/early":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def connection(**settings: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=Http, log_config=None, lifespan="off", **settings)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.should_exit = True
        await serving


async def answered(pieces: Iterable[bytes], wanted: int) -> bytes:
    """What comes back, up to `wanted` bytes of a body, or until the connection is closed."""
    async with connection() as (reader, writer):

        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)

        sending = asyncio.create_task(send())
        answer = b""
        with contextlib.suppress(ConnectionError):
            while len(answer.rpartition(b"\r\n\r\n")[2]) < wanted or b"\r\n\r\n" not in answer:
                piece = await reader.read(65536)
                if not piece:
                    break
                answer += piece
        sending.cancel()
        return answer


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "endless", [b"X-A: " + b"x" * 1019, b"x" * 1024, b"X-A: x\r\n" * 128], ids=["a header", "a name", "many headers"]
)
async def test_an_endless_head_is_refused(endless: bytes) -> None:
    answer = await answered([HEAD, *([endless] * 4096)], 1)
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer[:100]


async def test_an_endless_address_is_refused() -> None:
    answer = await answered([b"GET /", *([b"x" * 1024] * 4096)], 1)
    assert answer.startswith(b"HTTP/1.1 431 "), answer[:100]


async def test_a_head_within_the_limit_and_a_body_beyond_it_are_read() -> None:
    head = HEAD + b"X-A: " + b"x" * (MAX_HEAD // 2) + b"\r\nContent-Length: 300000\r\n\r\n"
    pieces = [head[start : start + 1000] for start in range(0, len(head), 1000)]
    answer = await answered([*pieces, *([b"y" * 1000] * 300)], 300000)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"y" * 1000)


async def left(reader: asyncio.StreamReader) -> None:
    """The connection is closed without a word. On a slow machine the client may not have sent all by then."""
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def echoed(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(1) == b"z"


EARLY = b"GET /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


async def test_a_client_that_was_answered_early_and_never_ends_its_body_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "LINGER", 0.05)
    async with connection() as (reader, writer):
        writer.write(EARLY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401 ")
        writer.write(b"x")  # ends uvicorn's own timer
        await left(reader)


async def test_a_client_that_was_answered_early_may_go_on_when_it_has_sent_its_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "LINGER", 3600.0)
    async with connection() as (reader, writer):
        writer.write(EARLY)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x" * 1000 + HEAD + b"Content-Length: 1\r\n\r\nz")
        await echoed(reader)


@pytest.mark.parametrize("rest", [b"x" * 1000, b"x" * 1000 + b"\r\n"], ids=["the body", "an empty line"])
async def test_a_client_that_has_sent_a_body_that_was_answered_early_and_asks_nothing_more_is_left(rest: bytes) -> None:
    async with connection(timeout_keep_alive=0.2) as (reader, writer):
        writer.write(EARLY)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(rest)
        await left(reader)


async def test_a_request_behind_a_body_that_was_answered_early_may_take_its_time() -> None:
    async with connection(timeout_keep_alive=0.5) as (reader, writer):
        writer.write(EARLY)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x" * 1000 + HEAD + b"Content-Length: 1\r\n\r\n")
        await asyncio.sleep(0.8)
        writer.write(b"z")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_requests_that_follow_one_another_are_counted_apart() -> None:
    one = HEAD + b"X-A: " + b"x" * (MAX_HEAD // 2) + b"\r\nContent-Length: 1\r\n\r\nz"
    async with connection() as (reader, writer):
        for _ in range(4):
            writer.write(one[:700])
            await asyncio.sleep(0)
            writer.write(one[700:])
            await echoed(reader)


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """The port of a server with the default for the address, run as backend and frontend run it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    serving = asyncio.create_task(Serving(app, host=BackendSettings(root=Path("/")).host, port=port).run())
    async with asyncio.timeout(5):
        while not serving.done():
            with contextlib.suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                break
            await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        signal.raise_signal(signal.SIGTERM)
        await serving


async def status(address: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return line.rstrip()


async def test_without_an_address_it_is_reached_by_ipv4_and_by_ipv6(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with listening() as port:
            assert await status("127.0.0.1", port) == b"HTTP/1.1 200 OK"
            if socket.has_dualstack_ipv6():
                assert await status("::1", port) == b"HTTP/1.1 200 OK"
    said = [one.getMessage() for one in caplog.records if "running on" in one.getMessage()]
    assert said == [f"Uvicorn running on http://0.0.0.0:{port} (Press CTRL+C to quit)"]


async def test_a_kernel_without_ipv6_serves_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldSocket(socket.socket):
        def __init__(self, family: int = -1, *rest: Any, **more: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, *rest, **more)

    monkeypatch.setattr(socket, "socket", OldSocket)
    async with listening() as port:
        assert await status("127.0.0.1", port) == b"HTTP/1.1 200 OK"
