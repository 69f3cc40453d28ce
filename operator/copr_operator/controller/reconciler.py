"""One reconciliation: observe, plan, act, until there is nothing to do; then one status write and its Events."""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from copr_operator.api.common import TERMINAL
from copr_operator.controller.batches import Batches
from copr_operator.controller.events import EventPoster
from copr_operator.controller.executor import Executor, StaleError
from copr_operator.controller.ids import IdAllocator, IdsUnavailableError
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.packages import Packages
from copr_operator.controller.store import Key, Store
from copr_operator.core.config import OperatorConfig
from copr_operator.core.decision import Plan, Urgency
from copr_operator.core.observed import Batch, BuildView, Observed, ProjectView
from copr_operator.core.plan import plan
from copr_operator.core.project import ObservedProject, plan_project
from copr_operator.core.views import build_view, project_view, try_view
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient

log = logging.getLogger(__name__)
current_key: contextvars.ContextVar[str] = contextvars.ContextVar("current_key", default="")
current_id: contextvars.ContextVar[int | None] = contextvars.ContextVar("current_id", default=None)

ROUNDS = 12
"""Plans that may follow one another in one reconciliation before the key comes again later, and later each time."""
PAUSES = {Urgency.NOW: 0.0, Urgency.SOON: 2.0, Urgency.LAZY: 60.0}
"""Seconds between two status writes of one build, by how urgent the later one is.

A kubelet tells of its pods once a second: a pause of one second would show what is over a moment later."""

Requeue = float | None
"""Seconds until the key is due again; None when only an event can bring news."""


class Reconciler:
    """Works on one key at a time; the queue sees to it that no key is worked on twice at once."""

    def __init__(
        self,
        kube: KubeClient,
        store: Store,
        executor: Executor,
        ids: IdAllocator,
        events: EventPoster,
        metrics: Metrics,
        config: OperatorConfig,
        wake: Callable[[Key], None],
    ) -> None:
        self._kube = kube
        self._store = store
        self._executor = executor
        self._ids = ids
        self._events = events
        self._metrics = metrics
        self._config = config
        self._wake = wake
        self._packages = Packages(kube, store, executor, config)
        self._batches = Batches(store, self._lookup, wake)
        self._written: dict[str, float] = {}
        """When the status of each build was last written, by uid, in loop time."""
        self._without_id: set[str] = set()
        """uids of builds that were told that the backend does not say how high ids are; once it has, it is known."""

    async def reconcile(self, key: Key) -> Requeue:
        """Brings one object forward; returns when to look again. Raises StaleError and ApiError: the queue retries."""
        current_key.set(f"{key.namespace}/{key.name}")
        current_id.set(None)
        if key.kind == "project":
            return await self._project(key)
        if key.kind == "package":
            return await self._packages.reconcile(key)
        try:
            return await self._build(key)
        except IdsUnavailableError as error:
            return error.again

    # -- builds ----------------------------------------------------------------------------------------------------

    async def _build(self, key: Key) -> Requeue:
        ended: BuildView | None = None
        """The store has none: it is read once, and never after it was just written."""
        for _ in range(ROUNDS):
            build = self._store.builds.get(key.namespace, key.name) or ended or await self._find_build(key)
            if build is None:
                return None
            current_id.set(build.status.id)
            if build.unread_status and not build.deleting:
                log.warning("the status can't be read: %s", build.unread_status)
                self._events.status_unread(build)
            if build.status.state in TERMINAL and build is not ended and not build.deleting:
                self._packages.look_back(build)
            observed = await self._observe(build)
            decision = plan(observed, self._config)
            if decision.actions:
                await self._executor.run(observed, decision.actions)
                if decision.forget:
                    self._forget(build)
                    return None
                ended = build if build.status.state in TERMINAL else None
                continue
            pause = self._pause(build, decision)
            if pause is None:
                return None if decision.forget else self._until(decision.requeue_at, build.uid)
            if pause > 0:
                return min(pause, self._until(decision.requeue_at, build.uid) or pause)
            ended = await self._write(build, decision)
            if decision.forget or ended is None:
                return None
            if decision.urgency is not Urgency.NOW:
                return self._until(decision.requeue_at, build.uid)
        raise StaleError(f"CoprBuild {key.namespace}/{key.name} does not come to rest")

    async def _find_build(self, key: Key) -> BuildView | None:
        """From the store; an ended build is not in it and is read from the API server (a late cancel, a deletion)."""
        held = self._store.builds.get(key.namespace, key.name)
        if held is not None:
            return held
        obj = await self._kube.find(paths.copr("coprbuilds", key.namespace, key.name))
        if obj is None:
            return None
        view = try_view(build_view, obj)
        if isinstance(view, str):
            log.error("it can't be read: %s", view)
            return None
        if view.status.state not in TERMINAL:
            self._store.assume_build(view)
        return view

    async def _observe(self, build: BuildView) -> Observed:
        jobs = self._store.jobs_of(build)
        waiting = build.status.source is None or build.status.source.state == "pending"
        directory = [(build.spec.owner, build.dirname, chroot) for chroot in build.open_chroots]
        return Observed(
            build=build,
            now=self._kube.clock.now(),
            project=self._store.project_of(build),
            chroots=self._store.chroots,
            jobs=jobs,
            pods=self._store.pods_of(jobs.values()),
            refusals=self._executor.refusals.get(build.uid, {}),
            batch=await self._batches.of(build) if waiting else Batch(),
            original=await self._original_of(build) if waiting else None,
            srpm_taken=self._executor.results.srpms.get(build.uid),
            missing_jobs=frozenset(self._executor.missing.get(build.uid, ())),
            next_id=await self._next_id(build) if build.status.id is None and not build.deleting else None,
            directory_ready=all(entry in self._executor.results.directories for entry in directory),
            copied=self._executor.results.copied.get(build.uid),
            results_removed=build.uid in self._executor.results.removed,
            backend_message=self._executor.results.message(build.uid),
        )

    async def _next_id(self, build: BuildView) -> int:
        """Who gets none is told once."""
        try:
            build_id = await self._ids.for_build(build.uid)
        except IdsUnavailableError as error:
            if build.uid not in self._without_id:
                self._without_id.add(build.uid)
                self._events.id_waits(build, str(error))
            raise
        self._without_id.clear()
        return build_id

    async def _original_of(self, build: BuildView) -> BuildView | None:
        name = build.spec.rerun_of
        return await self._lookup(build.namespace, name) if name is not None else None

    async def _lookup(self, namespace: str, name: str) -> BuildView | None:
        key = Key("build", namespace, name)
        known = self._store.builds.get(namespace, name) is not None
        view = await self._find_build(key)
        if not known and self._store.builds.get(namespace, name) is not None:
            self._wake(key)  # its own event will bring nothing new, and so wake nobody
        return view

    def _pause(self, build: BuildView, decision: Plan) -> float | None:
        """Seconds until the status may be written, by its urgency; None when it says nothing new."""
        status = decision.status
        if status is None or status == build.status or not self._executor.is_news(build, status):
            return None
        due = self._written.get(build.uid, float("-inf")) + PAUSES[decision.urgency]
        return max(0.0, due - asyncio.get_running_loop().time())

    async def _write(self, build: BuildView, decision: Plan) -> BuildView | None:
        """Writes the status; the build as it is then, None when it is gone."""
        assert decision.status is not None  # noqa: S101
        loop = asyncio.get_running_loop()
        if decision.status.state in TERMINAL and build.status.state not in TERMINAL:
            # Its package may be known only now; its number counts when it is written.
            ending = decision.status.model_copy(update={"id": build.status.id})
            await self._packages.announce(replace(build, status=ending))
        try:
            written = await self._executor.write_build_status(build, decision.status)
        finally:
            self._written[build.uid] = loop.time()  # a write whose answer was lost is a write too
        if written is None:
            return None
        self._ids.written(build.uid)
        self._store.assume_build(written)
        current_id.set(written.status.id)
        self._events.build_changed(build, written)
        if written.status.state in TERMINAL and build.status.state not in TERMINAL:
            self._ended(written)
        elif build.status.id is None:
            self._wake_builds(self._store.naming(written))  # it may be what they say is missing
        return written

    def _ended(self, build: BuildView) -> None:
        log.info("build ended: %s", build.status.state)
        reason = build.status.failure.reason if build.status.failure is not None else ""
        self._metrics.ended.labels(build.status.state or "", reason).inc()
        self._forget(build)
        self._packages.ended(build)
        self._wake_builds(self._store.waiting_for(build))

    def _wake_builds(self, builds: Iterable[BuildView]) -> None:
        for other in builds:
            self._wake(Key("build", other.namespace, other.name))

    def _forget(self, build: BuildView) -> None:
        self._written.pop(build.uid, None)
        self._packages.forget(build.uid)
        self._batches.forget(build.uid)
        self._executor.forget(build.uid)

    def _until(self, time: datetime | None, uid: str) -> Requeue:
        """Until then; what waits for the backend comes when that is to be asked again."""
        if time is None:
            return None
        wait = (time - self._kube.clock.now()).total_seconds()
        return max(0.05, min(wait, self._executor.results.again(uid) or wait))

    # -- projects --------------------------------------------------------------------------------------------------

    async def _project(self, key: Key) -> Requeue:
        for _ in range(ROUNDS):
            project = self._store.projects.get(key.namespace, key.name) or await self._find_project(key)
            if project is None:
                return None
            decision = plan_project(self._observe_project(project), self._config)
            if decision.actions:
                await self._executor.run_project(project, decision.actions)
                if decision.released:
                    self._executor.forget(project.uid)
                    return None
                continue
            if decision.status is not None and self._executor.is_news(project, decision.status):
                written = await self._executor.write_project_status(project, decision.status)
                if written is None:
                    return None
                self._store.assume_project(written)
                self._events.project_changed(project, written)
                self._wake_builds(self._store.builds_of(written))
                continue
            return self._until(decision.requeue_at, project.uid)
        raise StaleError(f"CoprProject {key.namespace}/{key.name} does not come to rest")

    async def _find_project(self, key: Key) -> ProjectView | None:
        obj = await self._kube.find(paths.copr("coprprojects", key.namespace, key.name))
        if obj is None:
            return None
        view = try_view(project_view, obj)
        if isinstance(view, str):
            log.error("the spec can't be read: %s", view)
            return None
        self._store.assume_project(view)
        return view

    def _runs(self, build: BuildView) -> bool:
        return any(job.state == "active" for job in self._store.jobs_of(build).values())

    def _observe_project(self, project: ProjectView) -> ObservedProject:
        confirmed = self._executor.results.ensured.get(project.uid, set())
        ready = {chroot.name for chroot in project.status.chroots if chroot.ready}
        return ObservedProject(
            project=project,
            now=self._kube.clock.now(),
            rivals=self._store.rivals(project),
            # What is private is told again at each start: the store may have come from an older backup.
            private=self._executor.results.private.get(
                project.uid, project.status.private and not project.spec.private
            ),
            ensured=frozenset(confirmed | ready),
            active_builds=sum(self._runs(build) for build in self._store.builds_of(project)),
            removed=project.uid in self._executor.results.removed,
            backend_message=self._executor.results.message(project.uid),
        )
