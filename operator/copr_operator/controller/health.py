"""The controller's own HTTP surface: /healthz, /readyz and /metrics. It answers while waiting for the Lease as well."""

import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


@contextlib.asynccontextmanager
async def serve_health(
    port: int | None, problem: Callable[[], str], unready: Callable[[], str], registry: CollectorRegistry
) -> AsyncIterator[None]:
    """`problem` says what is wrong with this process, in words, and `unready` what it has yet to do; an empty string
    is health and readiness. No port: no server."""
    if port is None:
        yield
        return

    async def health(_: web.Request) -> web.Response:
        text = problem()
        return web.Response(text=text or "ok", status=500 if text else 200)

    async def readiness(_: web.Request) -> web.Response:
        text = problem() or unready()
        return web.Response(text=text or "ok", status=503 if text else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", readiness)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    try:
        yield
    finally:
        await runner.cleanup()
