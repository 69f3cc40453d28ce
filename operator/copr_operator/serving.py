"""How an ASGI application is served: it ends in good order on SIGTERM and takes up renewed certificates."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

logger = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn's own handlers raise the signal again at the end, which would end the process before it cleaned up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


class Serving:
    """One listening server. Make it before the application's parts are started: a bad certificate shows here."""

    def __init__(
        self, app: Any, *, host: str, port: int, tls_cert: Path | None = None, tls_key: Path | None = None
    ) -> None:
        self._tls_cert = tls_cert
        self._tls_key = tls_key
        self._config = uvicorn.Config(
            app,
            host=host,
            port=port,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=30,
        )
        self._config.load()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; requests under way get half a minute to end."""
        renewal = asyncio.create_task(self._reload_certificate(), name="certificate")
        try:
            await _Server(self._config).serve()
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal

    async def _reload_certificate(self, every: float = 60.0) -> None:
        """Take up a renewed certificate for new connections."""
        if self._tls_cert is None or self._config.ssl is None:
            return
        known = _stamp(self._tls_cert)
        while True:
            await asyncio.sleep(every)
            current = _stamp(self._tls_cert)
            if current != known:
                try:
                    self._config.ssl.load_cert_chain(self._tls_cert, self._tls_key)
                except OSError:
                    logger.exception("the renewed certificate can't be read; the old one stays")
                else:
                    known = current
                    logger.info("took up a renewed certificate")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino
