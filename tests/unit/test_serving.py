"""What comes before a body is bounded, whatever a client sends; ordinary requests are not disturbed by that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import uvicorn

from copr_operator.serving import MAX_HEAD, Http


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was sent."""
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
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, http=Http, log_config=None, lifespan="off"))
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


async def test_requests_that_follow_one_another_are_counted_apart() -> None:
    one = HEAD + b"X-A: " + b"x" * (MAX_HEAD // 2) + b"\r\nContent-Length: 1\r\n\r\nz"
    async with connection() as (reader, writer):
        for _ in range(4):
            writer.write(one[:700])
            await asyncio.sleep(0)
            writer.write(one[700:])
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(1) == b"z"
