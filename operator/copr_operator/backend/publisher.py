"""Publications: one at a time for each repository, and as few as possible.

Changes that arrive while a run is under way share the next one. A run also waits, for a bounded time, for steps that
have begun to store results for the same repository ("arriving"): when nobody else is about to finish, it waits for
nobody. So 50 builds that finish together make one or two runs.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from copr_operator.backend.layout import Repo
from copr_operator.backend.metadata import Change, Index, IndexDamagedError, PackageEntry, effective
from copr_operator.backend.metrics import Metrics
from copr_operator.backend.repository import Outcome, Repository

logger = logging.getLogger(__name__)

Rebuild = Callable[[Repo], Awaitable[dict[str, list[PackageEntry]]]]
"""Everything that belongs into a repository, read from its RPMs: the slow path when its private state is lost."""


@dataclass
class _Queue:
    """What waits for one repository."""

    change: dict[str, list[PackageEntry]] = field(default_factory=dict)
    waiters: list["asyncio.Future[None]"] = field(default_factory=list)
    arriving: int = 0
    at_once: bool = False
    """Don't wait for anybody."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is nobody to wait for."""
    task: "asyncio.Task[None] | None" = None
    index: Index | None = None
    """What is published, as long as this process knows."""


class Publisher:
    def __init__(
        self,
        open_repository: Callable[[Repo], Repository],
        rebuild: Rebuild,
        *,
        gather: float,
        grace: float,
        metrics: Metrics,
    ) -> None:
        self._open = open_repository
        self._rebuild = rebuild
        self._gather = gather
        self._grace = grace
        self._metrics = metrics
        self._queues: dict[Repo, _Queue] = {}
        self._touched: dict[Repo, float] = {}

    @contextmanager
    def arriving(self, repo: Repo) -> Iterator[None]:
        """Announce that a change of `repo` is being prepared; call publish() right after the block."""
        queue = self._queues.setdefault(repo, _Queue())
        queue.arriving += 1
        queue.go.clear()
        try:
            yield
        finally:
            queue.arriving -= 1
            if not queue.arriving:
                queue.go.set()
            self._forget(repo, queue)

    async def publish(self, repo: Repo, change: Change, *, at_once: bool = False) -> None:
        """Returns when readers can see the change. Raises what the run raised; then nothing was changed.

        `at_once`: don't wait for arriving changes (whoever asks may be one of them).
        """
        queue = self._queues.setdefault(repo, _Queue())
        queue.change.update({directory: list(packages) for directory, packages in change.items()})
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiters.append(waiter)
        self._metrics.queued.inc()
        if at_once:
            queue.at_once = True
            queue.go.set()
        if queue.task is None:
            queue.task = asyncio.create_task(self._run(repo, queue), name=f"publish {repo.path}")
        await waiter

    async def published(self, repo: Repo) -> Index:
        """What is listed now; read anew from the RPMs when the private state is lost."""
        queue = self._queues.get(repo)
        if queue is not None and queue.index is not None:
            return queue.index
        repository = self._open(repo)
        index = await asyncio.to_thread(repository.load)
        if index is None and not await asyncio.to_thread(repository.exists):
            return Index()
        if index is None:
            await self.publish(repo, {}, at_once=True)
            index = await asyncio.to_thread(repository.load)
        if queue is not None and queue.task is None and queue.index is None:
            queue.index = index
        return index or Index()

    async def clear(self) -> None:
        """Remove superseded metadata of repositories that were last published longer ago than the grace time."""
        for repo, at in list(self._touched.items()):
            queue = self._queues.setdefault(repo, _Queue())
            if queue.task is None and time.monotonic() - at > self._grace:
                del self._touched[repo]
                queue.task = asyncio.create_task(self._clear(repo, queue), name=f"clear {repo.path}")
                await queue.task
            self._forget(repo, queue)

    async def _clear(self, repo: Repo, queue: _Queue) -> None:
        """Takes the place of a run, so that none is under way; publishes what came meanwhile."""
        try:
            await asyncio.to_thread(self._open(repo).clear)
        except OSError:
            logger.exception("clearing %s failed", repo.path)
        await self._run(repo, queue)

    async def drain(self) -> None:
        """Wait for all publications under way."""
        tasks = [queue.task for queue in self._queues.values() if queue.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, repo: Repo, queue: _Queue) -> None:
        """Memory is for repositories something is happening in."""
        if queue.task is None and not queue.arriving and self._queues.get(repo) is queue:
            del self._queues[repo]

    async def _run(self, repo: Repo, queue: _Queue) -> None:
        try:
            while queue.waiters:
                if queue.arriving and not queue.at_once:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._gather):
                            await queue.go.wait()
                queue.at_once = False
                if queue.arriving:
                    queue.go.clear()
                change, waiters = queue.change, queue.waiters
                queue.change, queue.waiters = {}, []
                self._metrics.queued.dec(len(waiters))
                try:
                    await self._publish(repo, queue, change)
                except Exception as error:
                    logger.exception("publishing %s failed", repo.path)
                    self._metrics.publications.labels("failed").inc()
                    queue.index = None
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_exception(error)
                else:
                    for waiter in waiters:
                        if not waiter.done():
                            waiter.set_result(None)
        finally:
            queue.task = None
            self._forget(repo, queue)

    async def _publish(self, repo: Repo, queue: _Queue, change: Change) -> None:
        repository = self._open(repo)
        index = queue.index or await asyncio.to_thread(repository.load)
        if index is not None and not effective(index, change):
            queue.index = index
            return
        began = time.perf_counter()
        try:
            if index is None:
                raise IndexDamagedError("no index fits repomd.xml")
            outcome = await asyncio.to_thread(repository.publish, index, effective(index, change))
        except IndexDamagedError as damage:
            outcome = await self._publish_anew(repository, change, damage)
        queue.index = outcome.index
        self._touched[repo] = time.monotonic()
        seconds = time.perf_counter() - began
        self._metrics.published(outcome.groups_rendered, outcome.bytes_written, seconds)
        logger.info("published %s: %d packages, %.3f s", repo.path, outcome.index.count, seconds)

    async def _publish_anew(self, repository: Repository, change: Change, damage: IndexDamagedError) -> Outcome:
        if await asyncio.to_thread(repository.exists):
            logger.warning("%s is read anew from its RPMs: %s", repository.repo.path, damage)
            self._metrics.rebuilds.inc()
        everything = await self._rebuild(repository.repo)
        index = await asyncio.to_thread(repository.empty_index)
        return await asyncio.to_thread(repository.publish, index, {**everything, **change})
