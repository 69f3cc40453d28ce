"""A proxy before the API server: it counts writes, makes faults (`api_faults`), and can end its client at any request.

It speaks plain HTTP to the controller under test (loopback only) and forwards with its own credentials.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from copr_operator.kube.client import KubeClient
from tests.support import api_faults as faults
from tests.support import loopback
from tests.support.api_faults import Call


@dataclass(frozen=True)
class Write:
    """One write that was let through, and how it was answered."""

    method: str
    resource: str
    """`jobs`, `coprbuilds`, `coprbuilds/status`, `events`..."""
    name: str
    status: int


@dataclass
class ApiProxy:
    """Counts what passes. `on_write` is awaited after the server answered a write, before its client hears it."""

    upstream: KubeClient
    writes: list[Write] = field(default_factory=list)
    on_write: Callable[[Write], Awaitable[None]] | None = None
    rewrite: Callable[[bytes], bytes] = bytes
    """What the API server gets instead of a request's body."""
    url: str = ""
    listed_bytes: int = 0
    """Bytes of the answers to reads that are not watches."""
    dead: bool = False
    """A dead proxy answers nothing: for its client the API server, for the API server its client, is gone."""
    fault: faults.Decide | None = None
    """The fault of each request, if any."""
    tamper: faults.Tamper | None = None
    """What becomes of the events of each watch."""
    freeze: faults.Freeze = field(default_factory=faults.Freeze)
    made: Counter[str] = field(default_factory=Counter)
    """How many faults of each kind were made: a fault test that made none has shown nothing."""
    lists: Counter[str] = field(default_factory=Counter)
    """LISTs that were answered, by resource."""
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _server: str = ""
    _headers: dict[str, str] = field(default_factory=dict)

    _streams: set["asyncio.Task[object]"] = field(default_factory=set)
    """Handlers whose client may be gone: nothing else would end them while the API server is silent."""

    def count(self, resource: str, method: str | None = None) -> int:
        return sum(w.resource == resource and method in (None, w.method) and w.status < 400 for w in self.writes)

    def kill(self) -> None:
        """From now on nothing passes."""
        self.dead = True
        self.killed.set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["ApiProxy"]:
        self._server = self.upstream.access.server
        # Large answers would come compressed, and streams are read line by line here.
        self._headers = {"Authorization": f"Bearer {await self.upstream.access.token()}", "Accept-Encoding": "identity"}
        connector = aiohttp.TCPConnector(ssl=self.upstream.ssl_context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, read_bufsize=2**20
        ) as session:

            async def forward(request: web.Request) -> web.StreamResponse:
                return await self._forward(session, request)

            app = web.Application(client_max_size=16 * 1024**2)
            app.router.add_route("*", "/{tail:.*}", forward)
            async with loopback.serve(app) as self.url:
                try:
                    yield self
                finally:
                    for stream in list(self._streams):
                        stream.cancel()

    async def _forward(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        body = self.rewrite(await request.read())
        if self.dead:
            return _hang_up(request)
        call = self._call(request)
        fault = self.fault(call) if self.fault is not None else None
        if fault is not None:
            self.made[type(fault).__name__] += 1
        match fault:
            case faults.Answer():
                headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
                return web.Response(
                    status=fault.status, body=fault.body, content_type="application/json", headers=headers
                )
            case faults.Lose():
                return _hang_up(request)
            case faults.Hang():
                await asyncio.Event().wait()
            case faults.Delay(seconds):
                await asyncio.sleep(seconds)
            case faults.Kill(carried_out=False):
                self.kill()
                return _hang_up(request)
        try:
            answer = await self._exchange(session, request, call, body)
        except aiohttp.ClientError:  # the API server is away
            return _hang_up(request)
        if isinstance(fault, faults.Kill):
            self.kill()
        return _hang_up(request) if self.dead or isinstance(fault, faults.Swallow) else answer

    def _call(self, request: web.Request) -> Call:
        resource, name = faults.parse_path(request.path)
        self._numbers[request.method, resource] += 1
        return Call(
            request.method, resource, name, "watch" in request.query, self._numbers[request.method, resource],
            request.query.get("fieldSelector", ""),
        )  # fmt: skip

    async def _exchange(
        self, session: aiohttp.ClientSession, request: web.Request, call: Call, body: bytes
    ) -> web.StreamResponse:
        sent = {k: v for k, v in request.headers.items() if k.lower() in ("accept", "content-type")} | self._headers
        query = dict(request.query)
        if call.method == "GET" and not call.watch and not call.name:
            query = self.freeze.of_list(query)
        url = f"{self._server}{request.path}" + (f"?{urlencode(query)}" if query else "")
        async with session.request(call.method, url, headers=sent, data=body or None) as answer:
            headers = {k: v for k, v in answer.headers.items() if k.lower() in ("content-type", "retry-after")}
            if call.watch and answer.status == 200:
                return await self._stream(request, call, answer, headers)
            data = await answer.read()
            if call.write:
                write = Write(call.method, call.resource, call.name, answer.status)
                self.writes.append(write)
                if self.on_write is not None:
                    await self.on_write(write)
            else:
                self.listed_bytes += len(data)
                self.lists[call.resource] += not call.name
            return web.Response(status=answer.status, body=data, headers=headers)

    async def _stream(
        self, request: web.Request, call: Call, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        await response.prepare(request)
        lines = self.freeze.hold(aiter(answer.content))
        if self.tamper is not None:
            lines = self.tamper(call, lines)
        with contextlib.suppress(ConnectionError, aiohttp.ClientError, asyncio.CancelledError):
            async for line in lines:
                if self.dead:
                    return response
                await response.write(line)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await response.write_eof()
        return response


def _hang_up(request: web.Request) -> web.Response:
    """Closes the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
