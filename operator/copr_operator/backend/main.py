"""Starts the backend: `run(settings)` serves until SIGTERM or SIGINT."""

import asyncio
import logging
import os
from contextlib import suppress

from copr_operator.backend.app import make_app
from copr_operator.backend.identity import Kube
from copr_operator.backend.services import Services, open_store
from copr_operator.backend.settings import BackendSettings
from copr_operator.backend.store import Store
from copr_operator.kube.client import KubeClient
from copr_operator.serving import Serving

logger = logging.getLogger(__name__)


def run(settings: BackendSettings) -> None:
    """Serve. Raises TimeoutError when another process keeps the store, OSError when it can't be written, ValueError
    for settings that name no store."""
    store = open_store(settings)
    with store.locked(lost=_end):
        asyncio.run(_run(settings, store))


def _end() -> None:
    """Another process may write now: nothing that is under way here may be finished."""
    os._exit(os.EX_TEMPFAIL)


async def _run(settings: BackendSettings, store: Store) -> None:
    async with await KubeClient.from_environment() as kube:
        await serve(settings, store, kube)


async def serve(settings: BackendSettings, store: Store, kube: Kube) -> None:
    """Serve until SIGTERM or SIGINT; requests under way get half a minute to end."""
    services = Services(settings, kube, store=store)
    serving = Serving(
        make_app(services),
        host=settings.host, port=settings.port, tls_cert=settings.tls_cert, tls_key=settings.tls_key,
    )  # fmt: skip
    await services.start()
    sweep = asyncio.create_task(services.keep_sweeping(), name="sweep")
    logger.info("serving %s on port %d", settings.objects_url or settings.root, settings.port)
    try:
        await serving.run()
    finally:
        sweep.cancel()
        with suppress(asyncio.CancelledError):
            await sweep
        await services.close()
