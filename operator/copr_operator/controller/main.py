"""The controller process: takes the Lease, fills the store, then lets kopf watch and the workers work."""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, get_args

from copr_operator.api.common import TERMINAL, Phase
from copr_operator.controller.backend import BackendClient, BackendError
from copr_operator.controller.events import POSTERS, EventPoster
from copr_operator.controller.executor import Executor, StaleError
from copr_operator.controller.feeder import Feeder
from copr_operator.controller.health import serve_health
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.lease import LEASE_NAME, Lease
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.queue import KeyedQueue
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.settings import ControllerSettings
from copr_operator.controller.store import Key, Store
from copr_operator.controller.sync import Synchronizer
from copr_operator.core import names
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

ACTIVE = sorted(set(get_args(Phase)) - TERMINAL)
WRONG_CLOCK = 10.0
"""Seconds that the own clock may be off before it is told: it harms nothing here, but elsewhere it may."""
HEARTBEAT_LIMIT = 75.0
"""Seconds without a sign of the Lease after which watching counts as broken: bookmarks come every minute."""
KOPF_WAITS = 1.0
"""Seconds at most: an import in a thread leaves little of the interpreter to the others."""
FIRST_RESYNC = 5.0
"""Seconds after kopf's start: what of its kinds went away between the first LIST and kopf's, no event shows."""


class Controller:
    """All parts of one controller, wired. `run` returns when it is told to stop or loses the Lease."""

    def __init__(
        self,
        settings: ControllerSettings,
        kube: KubeClient,
        metrics: Metrics,
        *,
        lease_name: str = LEASE_NAME,
        listen: Callable[[], None] = lambda: None,
    ) -> None:
        """`listen` makes the process's signals set `run`'s stop; it is called again whenever kopf has taken them."""
        operator = settings.operator
        self._listen = listen
        self.settings = settings
        self.metrics = metrics
        self.kube = kube
        self.queue: KeyedQueue[Key] = KeyedQueue(lambda key: self.store.turn(key))
        self.store = Store(self.queue.add, operator.namespace)
        self.backend = BackendClient(
            settings.backend_control_url or operator.backend_url, settings.backend_token_file, settings.backend_ca_file
        )
        # A backend that does not answer must leave workers for builds that run, and are canceled.
        questions = max(1, settings.workers // 2)
        self.executor = Executor(kube, self.backend, self.store, operator, questions=questions)
        ids = IdAllocator(
            kube, operator.namespace, self.backend.highest_id, operator.deadlines.backend_retry
        )  # fmt: skip
        self.events = EventPoster(kube)
        self.reconciler = Reconciler(
            kube, self.store, self.executor, ids, self.events, metrics, operator, self.queue.add
        )  # fmt: skip
        self.feeder = Feeder(self.store, settings.namespaces)
        self.sync = Synchronizer(
            kube, self.store, self.feeder, self.queue.add, settings.namespaces, operator.namespace, metrics.ghosts.inc
        )
        self.lease = Lease(
            kube, operator.namespace, settings.identity,
            duration=settings.lease_duration, renew_every=settings.lease_renew, name=lease_name, notes=self._notes,
        )  # fmt: skip
        self._watching = False
        self._kopf_started = asyncio.Event()
        self._measure()

    def _measure(self) -> None:
        """Gauges are read when they are asked for: a stuck worker must not leave them as they were."""
        self.metrics.queue_depth.set_function(lambda: len(self.queue))
        self.metrics.queue_oldest.set_function(lambda: self.queue.oldest)
        for state in ACTIVE:
            self.metrics.builds.labels(state).set_function(partial(self._builds_in, state))

    def _builds_in(self, state: str) -> int:
        return sum((build.status.state or "pending") == state for build in self.store.builds.values())

    def _notes(self) -> dict[str, str]:
        heard = self.sync.ended.heard()
        return {names.ANNOTATION_HEARD: heard} if heard else {}

    async def run(self, stop: asyncio.Event, ready: asyncio.Event | None = None) -> bool:
        """True when it was told to stop, False when it must not go on (the Lease is lost, a part has died)."""
        stopped = asyncio.create_task(stop.wait(), name="the end")
        try:
            if await _done_before({stopped}, self.lease.acquire()):
                log.info("active: watching %s", ", ".join(self.settings.namespaces) or "all namespaces")
                self.metrics.active.set(1)
                await self._lead(stopped, ready)
                self.metrics.active.set(0)
                if stop.is_set():
                    await self.lease.release()
        finally:
            stopped.cancel()
            await self.backend.close()
        return stop.is_set()

    async def _lead(self, stopped: asyncio.Task[Any], ready: asyncio.Event | None) -> None:
        """Everything that is done while the Lease is held; it is renewed from the first moment, whatever that takes."""
        kopf_stop = asyncio.Event()
        tasks: set[asyncio.Task[Any]] = {asyncio.create_task(self.lease.hold(), name="the Lease")}
        try:
            if await _done_before({stopped, *tasks}, self._first_sync()):
                tasks |= self._start(kopf_stop)
                if ready is not None:
                    ready.set()
                await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    log.error("%s died", task.get_name(), exc_info=error)
        finally:
            kopf_stop.set()
            for task in tasks:
                if task.get_name() != "kopf":
                    task.cancel()
            await asyncio.wait(tasks, timeout=10)

    def _start(self, kopf_stop: asyncio.Event) -> set[asyncio.Task[Any]]:
        """Watches and workers, beside each other."""
        self.feeder.heartbeat = asyncio.get_running_loop().time()
        self._watching = True
        heard = self.lease.found.get(names.ANNOTATION_HEARD, "")
        return {
            asyncio.create_task(self._resync_loop(), name="the resync"),
            asyncio.create_task(self.sync.watch_work(), name="the watch of Jobs and Pods"),
            asyncio.create_task(self.sync.watch_ended(heard), name="the watch of ended builds"),
            asyncio.create_task(self._operate(kopf_stop), name="kopf"),
            *(asyncio.create_task(self.events.run(), name=f"poster {n}") for n in range(POSTERS)),
            *(asyncio.create_task(self._work(), name=f"worker {n}") for n in range(self.settings.workers)),
        }

    async def _first_sync(self) -> None:
        while True:
            try:
                await self.sync.resync()
                return
            except ApiError as error:
                if not error.transient and not error.gone:
                    raise
                log.warning("the first LIST failed: %s", error)
                await asyncio.sleep(1)

    async def _operate(self, stop: asyncio.Event) -> None:
        """kopf takes SIGTERM and SIGINT when it starts. It must not keep them: it would end alone, slowly, and leave
        the Lease behind, so that the next controller had to wait until that runs out."""
        listening = asyncio.create_task(self._listen_again())
        try:
            # It takes longest to import and is needed last: builds that are there already get their Jobs before.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KOPF_WAITS):
                    while not self.queue.idle:
                        await asyncio.sleep(0.02)
            await asyncio.to_thread(importlib.import_module, "copr_operator.controller.transport")
            from copr_operator.controller.transport import operate

            gc.freeze()  # what was imported stays: the collector need not look at it again and again
            await operate(
                self.feeder, self.kube, self.settings.watched, self.settings.identity, stop, self._kopf_started
            )  # fmt: skip
        finally:
            listening.cancel()

    async def _listen_again(self) -> None:
        await self._kopf_started.wait()
        self._listen()

    async def _resync_loop(self) -> None:
        await self._kopf_started.wait()
        await asyncio.sleep(min(FIRST_RESYNC, self.settings.resync_seconds))
        # Ended builds, Jobs and Pods are watched from a LIST's own version on.
        await self._tried(partial(self.sync.resync, work=False))
        while True:
            await asyncio.sleep(self.settings.resync_seconds)
            await self._tried(self.sync.resync)
            await self._tried(self.sync.ended.find_deleted)
            if abs(self.kube.clock.wrong_by) > WRONG_CLOCK:
                log.warning(
                    "this machine's clock is %+.0f s off the API server's, which is used", self.kube.clock.wrong_by
                )

    async def _tried(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except ApiError as error:
            log.warning("the resync failed and will come again: %s", error)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                with self.metrics.seconds.labels(key.kind).time():
                    result = await self._reconcile(key)
            finally:
                self.queue.done(key)
            self.metrics.reconciles.labels(key.kind, result).inc()

    async def _reconcile(self, key: Key) -> str:
        try:
            again = await self.reconciler.reconcile(key)
        except StaleError as error:
            log.debug("%s", error)
            self.queue.failed(key)
            return "stale"
        except (ApiError, BackendError) as error:
            delay = self.queue.failed(key, getattr(error, "retry_after", None) or 0.0)
            log.warning("%s: %s; again in %.1f s", key.name, error, delay)
            return "error"
        except Exception:
            delay = self.queue.failed(key)
            log.exception("%s: reconciling failed; again in %.1f s", key.name, delay)
            return "bug"
        self.queue.succeeded(key)
        if again is not None:
            self.queue.add_after(key, again)
        return "ok"

    def problem(self) -> str:
        """What the liveness probe says: the watch has not shown our own Lease's renewals for too long.

        While the Lease is renewed, its watch must show it; silence means that watching is broken, whatever the cause.
        """
        if not self._watching:
            return ""
        now = asyncio.get_running_loop().time()
        silent = now - self.feeder.heartbeat
        renewing = now - self.lease.renewed_at < 2 * self.settings.lease_renew + 5
        return f"the watch has been silent for {silent:.0f} s" if silent > HEARTBEAT_LIMIT and renewing else ""

    def unready(self) -> str:
        """What the readiness probe says, so that a rollout waits for a controller that works, or could take over.

        One that waits for the Lease counts when it has read it: then it reaches the API server and has its rights.
        """
        if self._watching or self.lease.standing_by:
            return ""
        return "the first LIST is not done yet" if self.lease.renewed_at else "the Lease was not read yet"


async def _done_before(ends: set[asyncio.Task[Any]], work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before one of the tasks ended; else it is cancelled. Raises what the work raises."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        task.cancel()
        await asyncio.wait({task})


async def serve(settings: ControllerSettings) -> bool:
    """Runs a controller until SIGTERM or SIGINT."""
    stop = asyncio.Event()

    def listen() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    listen()
    metrics = Metrics()
    async with await KubeClient.from_environment(
        kubeconfig=settings.kubeconfig, recorder=metrics.record_request
    ) as kube:
        controller = Controller(settings, kube, metrics, listen=listen)
        async with serve_health(settings.http_port, controller.problem, controller.unready, metrics.registry):
            return await controller.run(stop)
