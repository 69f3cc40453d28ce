"""Starts the backend: `run(settings)` serves until SIGTERM or SIGINT."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from copr_operator.backend.app import make_app
from copr_operator.backend.identity import Kube
from copr_operator.backend.services import Services
from copr_operator.backend.settings import BackendSettings
from copr_operator.backend.store import DirectoryStore
from copr_operator.kube.client import KubeClient

logger = logging.getLogger(__name__)


def run(settings: BackendSettings) -> None:
    """Serve. Raises TimeoutError when another process keeps the store, OSError when it can't be written."""
    store = DirectoryStore(settings.root)
    with store.locked():
        asyncio.run(_run(settings, store))


async def _run(settings: BackendSettings, store: DirectoryStore) -> None:
    async with await KubeClient.from_environment() as kube:
        await serve(settings, store, kube)


class _Server(uvicorn.Server):
    """uvicorn's own handlers raise the signal again at the end, which would end the process before it cleaned up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: BackendSettings, store: DirectoryStore, kube: Kube) -> None:
    """Serve until SIGTERM or SIGINT; requests under way get half a minute to end."""
    services = Services(settings, kube, store=store)
    config = uvicorn.Config(
        make_app(services),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=30,
    )
    config.load()
    await services.start()
    tasks = [asyncio.create_task(services.keep_sweeping(), name="sweep")]
    if settings.tls_cert is not None:
        tasks.append(asyncio.create_task(_reload_certificate(config, settings), name="certificate"))
    logger.info("serving %s on port %d", settings.root, settings.port)
    try:
        await _Server(config).serve()
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await services.close()


async def _reload_certificate(config: uvicorn.Config, settings: BackendSettings, every: float = 60.0) -> None:
    """Take up a renewed certificate for new connections, without a restart."""
    if settings.tls_cert is None or config.ssl is None:
        return
    known = _stamp(settings.tls_cert)
    while True:
        await asyncio.sleep(every)
        current = _stamp(settings.tls_cert)
        if current != known:
            try:
                config.ssl.load_cert_chain(settings.tls_cert, settings.tls_key)
            except OSError:
                logger.exception("the renewed certificate can't be read; the old one stays")
            else:
                known = current
                logger.info("took up a renewed certificate")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino
