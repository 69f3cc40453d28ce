"""The egress proxy as clients see it: requests, tunnels, and requests sent ahead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from copr_operator.builder.agent.egress import EgressProxy, egress_proxy
from copr_operator.core.wire import EgressRules

LOOPBACK = EgressRules(allow=("127.0.0.1",))
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def ask(proxy: EgressProxy, request: bytes) -> bytes:
    """Everything that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_request_reaches_the_server_as_if_sent_to_it_directly() -> None:
    seen = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with listening(handler) as port, egress_proxy(LOOPBACK) as proxy:
        head = f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\nProxy-Authorization: x\r\n"
        answer = await ask(proxy, f"{head}Connection: keep-alive\r\n\r\n".encode())
    assert answer.endswith(b"\r\n\r\nok")
    assert seen == b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def test_a_client_that_sends_requests_ahead_still_gets_the_whole_answer() -> None:
    body = b"x" * 1_000_000

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        await writer.drain()

    async with listening(handler) as port, egress_proxy(LOOPBACK) as proxy:
        one = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for _ in range(20):
            assert (await ask(proxy, one * 200)).endswith(body)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://10.96.0.1/ HTTP/1.1", b"403"),
        ("CONNECT 10.96.0.1:443 HTTP/1.1", b"403"),
        ("CONNECT [::1]:443 HTTP/1.1", b"403"),
        ("CONNECT 127.0.0.1 HTTP/1.1", b"400"),
        ("CONNECT 127.0.0.1:x HTTP/1.1", b"400"),
        ("GET /path HTTP/1.1", b"400"),
        ("GET ftp://127.0.0.1/ HTTP/1.1", b"400"),
        ("nonsense", b"400"),
        ("CONNECT 127.0.0.1:1 HTTP/1.1", b"502"),
        ("CONNECT no-such-host.invalid:1 HTTP/1.1", b"502"),
    ],
)
async def test_what_can_not_be_done_is_answered(request_line: str, status: bytes) -> None:
    async with egress_proxy(LOOPBACK) as proxy:
        answer = await ask(proxy, f"{request_line}\r\n\r\n".encode())
    assert answer.split(b" ")[1] == status
    assert bool(proxy.refusals) == (status == b"403")


async def test_no_other_hosts_are_reached_when_credentials_may_be_shown() -> None:
    async with egress_proxy(EgressRules(allow=("127.0.0.0/8",)), frozenset({"127.0.0.1"})) as proxy:
        assert (await ask(proxy, b"CONNECT 127.0.0.2:1 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 403")
    assert proxy.refusals == ["127.0.0.2 is not one of the hosts that the credentials are for"]
