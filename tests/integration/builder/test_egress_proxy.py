"""The egress proxy as clients see it: requests, tunnels, and requests sent ahead."""

import asyncio
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

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


@asynccontextmanager
async def upstream(
    monkeypatch: pytest.MonkeyPatch, userinfo: str = "", status: bytes = b"200"
) -> AsyncIterator[list[str]]:
    """The administrator's own proxy: yields the heads of the requests that have reached it."""
    heads: list[str] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 " + status + b" x\r\n\r\n")

    async with listening(handler) as port:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://{userinfo}127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        yield heads


NO_RULES = EgressRules()
REQUESTS = ("GET http://{}/x HTTP/1.1", "CONNECT {}:443 HTTP/1.1")
NOT_PUBLIC = (
    "169.254.169.254", "169.254.169.254.", "169.254.169.254..", "2852039166", "0xa9fea9fe", "0xA9FEA9FE",
    "169.254.43518", "169.16689662", "0251.0376.0251.0376", "0xa9.254.0251.254", "127.1", "0", "[::1]",
    "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::169.254.169.254]", "[::169.254.169.254]",
    "[fd00:ec2::254]", "user@0xa9fea9fe",
)  # fmt: skip


@pytest.mark.parametrize("request_line", REQUESTS)
@pytest.mark.parametrize("host", NOT_PUBLIC)
async def test_an_address_is_judged_before_another_proxy_is_asked(
    monkeypatch: pytest.MonkeyPatch, request_line: str, host: str
) -> None:
    async with upstream(monkeypatch) as heads, egress_proxy(NO_RULES) as proxy:
        answer = await ask(proxy, f"{request_line.format(host)}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert len(proxy.refusals) == 1
    assert "not a public address" in proxy.refusals[0]
    assert heads == []


@pytest.mark.parametrize("request_line", REQUESTS)
@pytest.mark.parametrize(
    "host",
    [
        "010.08.0.1",  # no address here: 08 is not octal
        "256.254.169.254",
        "x.0xa9fea9fe",
        "169.254.169.254%2e",
        "169%2e254.169.254",
        "169.254.169.254\\.x.example",
        "\N{FULLWIDTH DIGIT ONE}69.254.169.254",
        "x.example\tx",
    ],
)
async def test_what_another_proxy_could_take_for_an_address_does_not_get_there(
    monkeypatch: pytest.MonkeyPatch, request_line: str, host: str
) -> None:
    async with upstream(monkeypatch) as heads, egress_proxy(NO_RULES) as proxy:
        answer = await ask(proxy, f"{request_line.format(host)}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert heads == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("GET http://x.example HTTP/1.1", "GET http://x.example/ HTTP/1.1"),
        ("GET http://X_1.example.:8080/a%20b?c=d HTTP/1.1", "GET http://x_1.example.:8080/a%20b?c=d HTTP/1.1"),
        ("GET http://010.0.0.1/ HTTP/1.1", "GET http://8.0.0.1/ HTTP/1.1"),
        ("GET http://[2606:2800:220:1::1]:81/ HTTP/1.1", "GET http://[2606:2800:220:1::1]:81/ HTTP/1.1"),
        ("GET http://169.254.169.254\\@x.example/ HTTP/1.1", "GET http://x.example/ HTTP/1.1"),
        ("CONNECT x.example:22 HTTP/1.1", "CONNECT x.example:22 HTTP/1.1"),
        ("CONNECT 134217729:443 HTTP/1.1", "CONNECT 8.0.0.1:443 HTTP/1.1"),
        ("CONNECT [2606:2800:220:1::1]:443 HTTP/1.1", "CONNECT [2606:2800:220:1::1]:443 HTTP/1.1"),
    ],
)
async def test_another_proxy_is_told_the_host_that_was_judged(
    monkeypatch: pytest.MonkeyPatch, asked: str, told: str
) -> None:
    async with upstream(monkeypatch) as heads, egress_proxy(NO_RULES) as proxy:
        answer = await ask(proxy, f"{asked}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert [head.split("\r\n")[0] for head in heads] == [told]


@pytest.mark.parametrize("request_line", REQUESTS)
async def test_another_proxy_gets_the_name_and_password_of_its_url_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, request_line: str
) -> None:
    async with upstream(monkeypatch, "me:s%40cr%C3%A9t@") as heads, egress_proxy(NO_RULES) as proxy:
        asked = f"{request_line.format('x.example')}\r\nProxy-Authorization: Basic c3R1ZmY=\r\n\r\n"
        await ask(proxy, asked.encode())
    lines = [line for line in heads[0].split("\r\n") if line.startswith("Proxy-")]
    assert lines == [f"Proxy-Authorization: Basic {b64encode('me:s@crét'.encode()).decode()}"]


async def test_a_server_that_is_reached_directly_gets_no_password_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        upstream(monkeypatch, "me:secret@") as heads,
        upstream(monkeypatch, "me:secret@") as direct,
        egress_proxy(LOOPBACK) as proxy,
    ):
        server = urlsplit(os.environ["http_proxy"]).netloc.rpartition("@")[2]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await ask(proxy, f"GET http://{server}/ HTTP/1.1\r\n\r\n".encode())
    assert heads == []
    assert direct == ["GET / HTTP/1.1\r\nConnection: close\r\n\r\n"]


async def test_a_proxy_that_refuses_a_password_does_not_get_it_into_the_log(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with upstream(monkeypatch, "me:s3cret@", status=b"407"), egress_proxy(NO_RULES) as proxy:
        answer = await ask(proxy, b"CONNECT x.example:443 HTTP/1.1\r\n\r\n")
    assert b"the proxy answered 407" in answer
    assert "s3cret" not in "".join(capfd.readouterr())
    assert b"s3cret" not in answer
    assert "s3cret" not in repr(proxy.refusals)


async def test_a_password_is_not_sent_to_a_proxy_that_is_to_be_spoken_to_by_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with upstream(monkeypatch, "me:secret@") as heads, egress_proxy(NO_RULES) as proxy:
        monkeypatch.setenv("http_proxy", os.environ["http_proxy"].replace("http:", "https:"))
        answer = await ask(proxy, b"GET http://x.example/ HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 OSError: the administrator's proxy is not an http:// one")
    assert heads == []


@pytest.mark.parametrize("request_line", REQUESTS)
async def test_no_other_hosts_are_reached_through_another_proxy_when_credentials_may_be_shown(
    monkeypatch: pytest.MonkeyPatch, request_line: str
) -> None:
    async with upstream(monkeypatch) as heads, egress_proxy(NO_RULES, frozenset({"x.example"})) as proxy:
        for host in ("x.example", "y.example"):
            await ask(proxy, f"{request_line.format(host)}\r\n\r\n".encode())
    assert [head.split(" ")[1] for head in heads] == [request_line.format("x.example").split(" ")[1]]
    assert proxy.refusals == ["y.example is not one of the hosts that the credentials are for"]
