"""A proxy before the API server that counts writes, and can end its client at the k-th of them.

It speaks plain HTTP to the controller under test (loopback only) and forwards with its own credentials.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from copr_operator.kube.client import KubeClient

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"/(?:apis/[^/]+/[^/]+|api/v1)/(?:namespaces/[^/]+/)?([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?$")


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

    _streams: set["asyncio.Task[object]"] = field(default_factory=set)
    """Handlers whose client may be gone: nothing else would end them while the API server is silent."""

    def count(self, resource: str, method: str | None = None) -> int:
        return sum(w.resource == resource and method in (None, w.method) and w.status < 400 for w in self.writes)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["ApiProxy"]:
        credentials = await self.upstream.credentials()
        headers = {"Authorization": f"Bearer {credentials.token}"}
        connector = aiohttp.TCPConnector(ssl=self.upstream.ssl_context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:

            async def forward(request: web.Request) -> web.StreamResponse:
                return await self._forward(session, credentials.server, headers, request)

            app = web.Application(client_max_size=16 * 1024**2)
            app.router.add_route("*", "/{tail:.*}", forward)
            runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                for stream in list(self._streams):
                    stream.cancel()
                await runner.cleanup()

    async def _forward(
        self, session: aiohttp.ClientSession, server: str, headers: dict[str, str], request: web.Request
    ) -> web.StreamResponse:
        sent = {k: v for k, v in request.headers.items() if k.lower() in ("accept", "content-type")} | headers
        sent["Accept-Encoding"] = "identity"  # bodies are passed on as they come, without their encoding
        if self.dead:
            return _hang_up(request)
        body = self.rewrite(await request.read())
        async with session.request(request.method, server + request.path_qs, headers=sent, data=body or None) as answer:
            plain = {k: v for k, v in answer.headers.items() if k.lower() in ("content-type", "retry-after")}
            if request.method in _WRITES:
                data = await answer.read()
                match = _NAME.search(request.path)
                parts = match.groups() if match else (request.path, None, None)
                resource = f"{parts[0]}/{parts[2]}" if parts[2] else str(parts[0])
                write = Write(request.method, resource, parts[1] or "", answer.status)
                self.writes.append(write)
                if self.on_write is not None:
                    await self.on_write(write)
                if self.dead:
                    return _hang_up(request)
                return web.Response(status=answer.status, body=data, headers=plain)
            response = web.StreamResponse(status=answer.status, headers=plain)
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError, asyncio.CancelledError):
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    if self.dead:
                        return response
                    self.listed_bytes += 0 if "watch" in request.query else len(chunk)
                    await response.write(chunk)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await response.write_eof()
            return response


def _hang_up(request: web.Request) -> web.Response:
    """Closes the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)
