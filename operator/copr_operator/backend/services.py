"""The parts of a backend, put together from its settings."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from copr_operator.backend.control import Control
from copr_operator.backend.errors import HttpError
from copr_operator.backend.forks import Forks
from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.identity import Identities, Kube
from copr_operator.backend.ingest import Ingest, Limits, RpmReader
from copr_operator.backend.inspector import Inspector, WorkerPool
from copr_operator.backend.layout import Repo
from copr_operator.backend.metrics import Metrics
from copr_operator.backend.objects import ObjectStore
from copr_operator.backend.privacy import Privacy, Tickets
from copr_operator.backend.publisher import Publisher
from copr_operator.backend.readers import Readers
from copr_operator.backend.repository import Checkpoint, Repository, no_checkpoint
from copr_operator.backend.settings import BackendSettings
from copr_operator.backend.settlement import Settlement
from copr_operator.backend.spool import Spool
from copr_operator.backend.store import DirectoryStore, Store
from copr_operator.backend.trash import Trash
from copr_operator.backend.uploads import Uploads

logger = logging.getLogger(__name__)


def open_store(settings: BackendSettings) -> Store:
    """Raises ValueError for settings that name no store."""
    if settings.objects_url is None:
        return DirectoryStore(settings.root)
    return ObjectStore.at(settings.objects_url, settings.spool)


class Services:
    """One backend. `start` before use, `close` at the end."""

    def __init__(
        self,
        settings: BackendSettings,
        kube: Kube,
        *,
        store: Store | None = None,
        inspector: Inspector | None = None,
        clock: Callable[[], float] = time.time,
        checkpoint: Checkpoint = no_checkpoint,
    ) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.store = store or open_store(settings)
        self.spool = Spool(settings.spool, self.store.checkpoint)
        self._clock = clock
        self._pool = WorkerPool(
            settings.workers, timeout=settings.inspect_timeout, max_header_bytes=settings.max_header_bytes
        )
        inspector = inspector or self._pool
        self.identities = Identities(kube, controller=settings.controller, audience=settings.audience)
        self.trash = Trash(self.store, clock=clock, grace=settings.removal_grace)
        reader = RpmReader(self.store, inspector, self.trash)

        def open_repository(repo: Repo) -> Repository:
            return Repository(self.store, repo, clock=clock, grace=settings.removal_grace, checkpoint=checkpoint)

        self.publisher = Publisher(
            open_repository,
            reader.everything,
            gather=settings.gather,
            grace=settings.removal_grace,
            metrics=self.metrics,
        )
        self.guard = BuildGuard()
        self.settlement = Settlement(kube, self.store, self.publisher, self.trash, self.guard)
        self.ingest = Ingest(
            self.store,
            self.spool,
            inspector,
            self.publisher,
            self.trash,
            self.guard,
            self.settlement,
            limits=Limits(settings.max_step_files, settings.max_step_bytes),
            metrics=self.metrics,
        )
        self.privacy = Privacy(self.store)
        self.tickets = Tickets(self.store, clock)
        self.readers = Readers(self.privacy, self.tickets, self.identities, settings)
        self.control = Control(self.store, self.spool, self.publisher, self.trash, self.guard, self.privacy)
        self.forks = Forks(self.store, reader, self.publisher, self.trash, self.guard, self.privacy)
        self.uploads = Uploads(
            self.store,
            settings.spool,
            clock=clock,
            retention=settings.upload_retention,
            namespace_bytes=settings.max_namespace_upload_bytes,
            checkpoint=self.store.checkpoint,
        )
        self.ready = False
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def start(self) -> None:
        await asyncio.to_thread(self.tickets.load)
        await self.control.start()
        await asyncio.to_thread(self.settlement.load)
        await self.readers.start()
        self.ready = True

    async def close(self) -> None:
        self.ready = False
        await self.publisher.drain()
        await self._pool.close()
        await self.readers.close()

    @asynccontextmanager
    async def exclusive(self, key: str) -> AsyncIterator[None]:
        """One at a time for each key."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1

    def require_space(self, size: int) -> None:
        """Raises HttpError 507 when `size` bytes more would leave too little."""
        if self.store.free_bytes() - size < self.settings.min_free_bytes:
            raise HttpError(507, "the store is full", "StorageFull")

    async def sweep(self) -> None:
        """Everything that has become due; a failure of one part does not keep the others from it."""
        now = self._clock()
        for part in (
            self.control.sweep(),
            self.publisher.clear(),
            asyncio.to_thread(self.uploads.sweep),
            asyncio.to_thread(self.ingest.salvage, now - self.settings.spool_retention),
            self.settlement.settle(),
        ):
            try:
                await part
            except Exception:
                logger.exception("sweeping failed; it is tried again")
        self.metrics.trash.set(len(self.trash.entries))
        self.metrics.worker_deaths.set(self._pool.deaths)

    async def keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self.settings.sweep_interval)
            await self.sweep()
