"""The client's transport against a server of a few lines: what a watch's stream is cut into."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from copr_operator.kube.access import Access
from copr_operator.kube.client import AT_ONCE, ApiError, KubeClient

BIG = "x" * 300_000
"""More than aiohttp gives out as one line."""


async def watched(chunks: list[bytes]) -> list[dict[str, Any]]:
    """The events of a stream that comes in these pieces."""

    async def stream(request: web.Request) -> web.StreamResponse:
        assert request.query["allowWatchBookmarks"] == "true"
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        return response

    async with client_of(stream) as kube:
        return [event async for event in kube.watch("/api/v1/pods", {"resourceVersion": "1"})]


@contextlib.asynccontextmanager
async def client_of(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[KubeClient]:
    """A client of a server that answers so for pods."""
    app = web.Application()
    app.router.add_get("/api/v1/pods", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with KubeClient(Access(f"http://127.0.0.1:{runner.addresses[0][1]}")) as kube:
            yield kube
    finally:
        await runner.cleanup()


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 50, 100_000])
async def test_events_are_whole_however_the_stream_is_cut(size: int) -> None:
    events = [{"type": "ADDED", "object": {"n": number}} for number in range(5)]
    assert await watched([chunk async for chunk in cut(lines(*events), size)]) == events


async def test_an_event_may_be_longer_than_any_buffer() -> None:
    events = [{"type": "ADDED", "object": {"big": BIG}}, {"type": "DELETED", "object": {}}]
    assert await watched([lines(*events)]) == events


async def test_an_event_that_is_cut_off_by_the_end_is_none() -> None:
    events = [{"type": "ADDED", "object": {"n": 1}}]
    assert await watched([lines(*events) + b'{"type": "ADD']) == events


async def test_an_error_in_the_stream_is_raised() -> None:
    error = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    with pytest.raises(ApiError, match="410 Expired: too old") as raised:
        await watched([lines(error)])
    assert raised.value.gone


async def test_any_number_of_watches_leaves_the_connections_of_requests_alone() -> None:
    """With many namespaces there are hundreds, each of which holds its connection for good."""
    begun = asyncio.Semaphore(0)
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        begun.release()
        await over.wait()
        return response

    async with client_of(answer) as kube:

        async def watch() -> None:
            async for _ in kube.watch("/api/v1/pods", {}):
                pass

        watches = [asyncio.create_task(watch()) for _ in range(AT_ONCE + 1)]
        for _ in watches:
            await begun.acquire()
        assert await kube.get("/api/v1/pods") == {"items": []}
        over.set()
        await asyncio.gather(*watches)
