"""How an ASGI application is served: it ends in good order on SIGTERM and takes up renewed certificates."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)


MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers, and what of one more piece arrives with them. As in h11."""
LINGER = 60.0
"""Seconds in which a client must have sent the rest of a body that was answered early. Closed at once, it would see a
broken connection in place of the answer."""


class Http(HttpToolsProtocol):
    """HTTP/1.1 by httptools, which costs half of what h11 does, and has no limit on what comes before a body."""

    _head: int | None = None
    """Bytes so far of a head that is not whole."""
    _lingering: asyncio.TimerHandle | None = None
    """Runs while the rest of a body comes that nobody reads any more: uvicorn's own timer stops at its first byte."""

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._no_lingering()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        early = self.cycle.response_complete and self.cycle.more_body
        if early and not self.transport.is_closing():
            self._lingering = self.loop.call_later(LINGER, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_lingering()
        super().connection_lost(exc)

    def _no_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def data_received(self, data: bytes) -> None:
        began = self._head is not None
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head is None:
            self._await_next()
            return
        # The piece in which a head begins may hold the end of the request before it.
        self._head += len(data) if began else 0
        if self._head > MAX_HEAD:
            self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
            self.transport.write(b"Connection: close\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()

    def _await_next(self) -> None:
        """uvicorn takes its timer off for any byte: also for the end of a body that was answered, and an empty line."""
        idle = self.cycle is not None and self.cycle.response_complete and self._lingering is None
        if idle and self.timeout_keep_alive_task is None:
            patience = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(patience, self.timeout_keep_alive_handler)


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
        self, app: Any, *, host: str | None, port: int, tls_cert: Path | None = None, tls_key: Path | None = None
    ) -> None:
        self._tls_cert = tls_cert
        self._tls_key = tls_key
        self._config = uvicorn.Config(
            app,
            host=host,  # type: ignore[arg-type]  # None: asyncio listens by each family that the kernel has
            port=port,
            http=Http,
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
