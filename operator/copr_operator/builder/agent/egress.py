"""The one way from `fetch` to the outside: an HTTP proxy on loopback that connects only where core.egress allows.

Everything that fetches a source goes through it: downloads, git, svn, and ssh by CONNECT. So every redirect and every
submodule is judged, by the address that is then connected to: a name can't change its mind in between.
"""

import asyncio
import base64
import contextlib
import re
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from copr_operator.builder.agent.pod import say
from copr_operator.core.egress import refusal
from copr_operator.core.wire import EgressRules

_HEAD_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 30.0
_LINGER = 5.0
_CHUNK = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_NAME = re.compile(r"[a-z0-9_.-]+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class RefusedError(Exception):
    """The rules do not allow this host."""


@dataclass(frozen=True)
class Upstream:
    """The proxy that the administrator has set for this container."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """Line of the header; empty: its URL has no name and password."""


class EgressProxy:
    """A running proxy. `refusals` says, in the order of the tries, what was not allowed."""

    def __init__(self, rules: EgressRules, only: frozenset[str] | None = None) -> None:
        """`only`: no other hosts, whatever the rules say, because credentials may be sent to whoever answers."""
        self._rules = rules
        self._only = only
        self.refusals: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to; RefusedError when there is none."""
        self._check_only(host)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        known = dict.fromkeys(str(entry[4][0]) for entry in found)
        reasons = {address: refusal(host, address, self._rules) for address in known}
        allowed = [address for address, reason in reasons.items() if not reason]
        if not allowed:
            raise self._refused(next(iter(reasons.values()), f"{host} has no address"))
        return allowed

    def _check_only(self, host: str) -> None:
        if self._only is not None and host not in self._only:
            raise self._refused(f"{host} is not one of the hosts that the credentials are for")

    def _refused(self, reason: str) -> RefusedError:
        self.refusals.append(reason)
        say(f"refused: {reason}")
        return RefusedError(reason)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.decode("latin-1"), reader, writer)
        except RefusedError as error:
            await _fail(writer, 403, str(error))
        except (ValueError, asyncio.LimitOverrunError):
            await _fail(writer, 400, "not a request to a proxy")
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            await _fail(writer, 502, f"{type(error).__name__}: {error}")
        finally:
            await _close(writer)

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _, fields = head.partition("\r\n")
        method, target, version = line.split(" ")
        if _CONTROL.search(target):  # urlsplit drops some of them; a next proxy may not
            raise ValueError(target)
        if method == "CONNECT":
            host, port = _authority(f"//{target}", None)
            server = await self._connect("https", host, port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server, target, added = await self._opened(target)
            server[1].write(f"{method} {target} {version}\r\n{added}{_own_fields(fields)}".encode("latin-1"))
        await _relay((reader, writer), server)

    async def _opened(self, target: str) -> tuple[Streams, str, str]:
        """A connection for a request that is no tunnel, what to ask for on it, and what to add to its header."""
        parts = urlsplit(target)
        host, port = _authority(target, _PORTS["http"])
        if parts.scheme != "http":
            raise ValueError(target)
        upstream = _upstream("http", host)
        if upstream is None:
            path = parts._replace(scheme="", netloc="").geturl() or "/"
            return await self._connect("http", host, port), path, ""
        # Written anew: of what a user has written another program may read another host.
        told = _bracketed(await self._told(host, port))
        netloc = told if port == _PORTS["http"] else f"{told}:{port}"
        url = parts._replace(netloc=netloc, path=parts.path or "/").geturl()
        return await _open(upstream.host, upstream.port), url, upstream.authorization

    async def _told(self, host: str, port: int) -> str:
        """The host as the next proxy is told it, which judges names: perhaps only it can resolve them. An address,
        however it is written, is judged here, and told as it was understood here."""
        self._check_only(host)
        if _is_literal(host):
            return (await self.addresses(host.rstrip("."), port))[0]
        # A number at the end that is no address here may be one to the next proxy.
        if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise ValueError(host)
        return host

    async def _connect(self, scheme: str, host: str, port: int) -> Streams:
        """To the host itself, or through the proxy that the administrator has set for this container."""
        upstream = _upstream(scheme, host)
        if upstream is None:
            return await _first(await self.addresses(host, port), port)
        authority = f"{_bracketed(await self._told(host, port))}:{port}"
        reader, writer = await _open(upstream.host, upstream.port)
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{upstream.authorization}\r\n"
        writer.write(head.encode("latin-1"))
        try:
            status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
            if status != b"200":
                raise OSError(f"the proxy answered {status.decode('latin-1')}")
        except BaseException:
            await _close(writer)
            raise
        return reader, writer


@asynccontextmanager
async def egress_proxy(rules: EgressRules, only: frozenset[str] | None = None) -> AsyncIterator[EgressProxy]:
    """A proxy that runs as long as the block."""
    proxy = EgressProxy(rules, only)
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        open_still = list(tasks)
        for task in open_still:
            task.cancel()
        await asyncio.gather(*open_still, return_exceptions=True)
        await asyncio.gather(*tasks, return_exceptions=True)


def _authority(target: str, default_port: int | None) -> tuple[str, int]:
    """Host and port of a URL; ValueError when it has none."""
    parts = urlsplit(target)
    port = parts.port if parts.port is not None else default_port
    if not parts.hostname or port is None:
        raise ValueError(target)
    return parts.hostname, port


def _own_fields(fields: str) -> str:
    """The header without what is for the proxy. One request a connection: the next may be for another host."""
    kept = [
        field
        for field in fields.split("\r\n")
        if field and not field.lower().startswith(("proxy-", "connection:", "keep-alive:"))
    ]
    return "".join(f"{field}\r\n" for field in [*kept, "Connection: close"]) + "\r\n"


def _upstream(scheme: str, host: str) -> Upstream | None:
    """The proxy that this container's environment names for such a URL."""
    url = urllib.request.getproxies().get(scheme)
    if not url or urllib.request.proxy_bypass(host):
        return None
    parts = urlsplit(url if "//" in url else f"http://{url}")
    if parts.scheme != "http":  # nor would its password be sent in the clear
        raise OSError("the administrator's proxy is not an http:// one")
    if not parts.hostname:
        raise OSError("the administrator's proxy has no host")
    return Upstream(parts.hostname, parts.port or 3128, _authorization(parts.username, parts.password))


def _authorization(username: str | None, password: str | None) -> str:
    """The line of the header for the name and password of a proxy's URL."""
    if username is None:
        return ""
    basic = base64.b64encode(f"{unquote(username)}:{unquote(password or '')}".encode()).decode()
    return f"Proxy-Authorization: Basic {basic}\r\n"


def _is_literal(host: str) -> bool:
    """Whether it is an address, as every resolver reads them: 2852039166, 0xa9fea9fe and 169.254.43518 are one too."""
    try:
        socket.getaddrinfo(host.rstrip("."), None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _open(host: str, port: int) -> Streams:
    async with asyncio.timeout(_CONNECT_TIMEOUT):
        return await asyncio.open_connection(host, port)


async def _first(addresses: list[str], port: int) -> Streams:
    """A connection to the first address that takes one."""
    problem: Exception = OSError("no address")
    for address in addresses:
        try:
            return await _open(address, port)
        except (OSError, TimeoutError) as error:
            problem = error
    raise problem


async def _relay(client: Streams, server: Streams) -> None:
    """Both directions until both have ended, or the server has."""
    upward = asyncio.create_task(_copy(client[0], server[1], lambda: _end(server[1])))
    try:
        await _copy(server[0], client[1], lambda: _end(client[1]))
    finally:
        upward.cancel()
        server[1].close()  # before anything that could be canceled
        await asyncio.gather(upward, return_exceptions=True)
        await _close(server[1])
    await _linger(client[0])


async def _linger(reader: asyncio.StreamReader) -> None:
    """Reads what the client has sent meanwhile (svn sends requests ahead): closed with it unread, the connection would
    be reset, and the client could lose the answer."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LINGER):
            while await reader.read(_CHUNK):
                pass


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        end()


def _end(writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()


async def _fail(writer: asyncio.StreamWriter, status: int, message: str) -> None:
    text = " ".join(message.split())
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {text[:200]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode("latin-1", "replace") + body)
        await writer.drain()
