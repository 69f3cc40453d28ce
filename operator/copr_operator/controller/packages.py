"""One reconciliation of a CoprPackage: what is known of its builds, a plan, and what that asks for."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from copr_operator.api.common import TERMINAL
from copr_operator.controller.executor import Executor, StaleError
from copr_operator.controller.store import Key, Store
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, PackageView
from copr_operator.core.package import (
    CreateBuild,
    ObservedPackage,
    PackagePlan,
    announced,
    is_limited,
    is_of,
    plan_package,
    wanted_build,
)
from copr_operator.core.views import build_view, package_view, try_view
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

ROUNDS = 6
"""Plans that may follow one another in one reconciliation."""
ANNOUNCED_FOR = 60.0
"""Seconds for which the end of a build waits for its packages to name it."""


@dataclass(frozen=True)
class _Count:
    """What a package and its builds were when they were counted last. Nothing is too many until one of these ends."""

    uid: str
    generation: int
    ends: int
    """How many ends of its builds were known: one may come while the builds are being listed."""
    active: frozenset[str]
    """uids of builds that had not ended."""


class Packages:
    """Ended builds are not in the store. What of them matters is remembered here, or asked for when something ended."""

    def __init__(self, kube: KubeClient, store: Store, executor: Executor, config: OperatorConfig) -> None:
        self._kube = kube
        self._store = store
        self._executor = executor
        self._config = config
        self._ended: dict[Key, BuildView] = {}
        """By package: its build that has ended, until the status tells of it."""
        self._counted: dict[Key, _Count] = {}
        self._ends: Counter[Key] = Counter()
        self._uids: dict[Key, str] = {}
        self._announcing: dict[str, float] = {}
        """By uid of a build that is about to end: since when its packages can't be told of it, in loop time."""

    def ended(self, build: BuildView) -> None:
        """A build has ended: its packages must hear of it."""
        for package in self._store.packages_of(build):
            key = _key(package)
            if (other := self._ended.get(key)) is None or (other.status.id or 0) <= (build.status.id or 0):
                self._ended[key] = build
            self._ends[key] += 1
        self._store.wake_packages(build)

    def look_back(self, build: BuildView) -> None:
        """A build was found to have ended: without our hearing so, or by another controller."""
        if not all(_tells_of(package, build) for package in self._store.packages_of(build)):
            self.ended(build)

    async def announce(self, build: BuildView) -> None:
        """A build is about to end: from now on its packages name it, so that its end can't be overlooked. Raises
        ApiError when that has to be tried again; the end does not wait for it longer than ANNOUNCED_FOR, nor for what
        time alone does not mend."""
        now = asyncio.get_running_loop().time()
        since = self._announcing.setdefault(build.uid, now)
        for package in self._store.packages_of(build):
            try:
                await self._announce(package, build)
            except ApiError as error:
                if error.transient and now - since < ANNOUNCED_FOR:
                    raise
                log.warning("CoprPackage %s can't be told of %s: %s", package.name, build.name, error.message)
        self.forget(build.uid)

    def forget(self, build_uid: str) -> None:
        self._announcing.pop(build_uid, None)

    async def _announce(self, package: PackageView | None, build: BuildView) -> None:
        for _ in range(ROUNDS):
            status = announced(package, build, self._kube.clock.now()) if package is not None else None
            if package is None or status is None:
                return
            try:
                written = await self._executor.write_package_status(package, status)
            except StaleError:
                package = await self._read(package)
            else:
                if written is not None:
                    self._store.assume_package(written)
                return
        log.warning("CoprPackage %s changes too fast to be told of %s", package.name if package else "", build.name)

    async def _read(self, package: PackageView) -> PackageView | None:
        """The package as the API server has it, which the store then has too; None when it is gone."""
        obj = await self._kube.find(paths.copr("coprpackages", package.namespace, package.name))
        view = None if obj is None else try_view(package_view, obj)
        if view is None or isinstance(view, str) or view.uid != package.uid:
            self._store.package_event("DELETED", package)
            return None
        self._store.assume_package(view)
        return view

    async def reconcile(self, key: Key) -> float | None:
        """Brings one package forward; in how many seconds to look again. Raises StaleError and ApiError."""
        for _ in range(ROUNDS):
            package = self._store.packages.get(key.namespace, key.name)
            if package is None or package.deleting:
                self._forget(key)
                return None
            self._uids[key] = package.uid
            count = self._count(package)
            observed = await self._observe(package, count)
            decision = plan_package(observed, self._config)
            if any(isinstance(action, CreateBuild) for action in decision.actions):
                # What is held may be old: the build was made and latched, and has been deleted since.
                newest = await self._read(package)
                if newest is None or newest.resource_version != package.resource_version:
                    continue
            if decision.actions:
                await self._executor.run_package(package, decision.actions)
                continue
            if decision.counted and is_limited(package, observed.project):
                self._counted[key] = count
            if decision.status is not None and self._executor.is_news(package, decision.status):
                written = await self._executor.write_package_status(package, decision.status)
                if written is not None:
                    self._store.assume_package(written)
                continue
            return self._settled(package, decision)
        raise StaleError(f"CoprPackage {key.namespace}/{key.name} does not come to rest")

    def _forget(self, key: Key) -> None:
        self._ended.pop(key, None)
        self._counted.pop(key, None)
        self._ends.pop(key, None)
        if (uid := self._uids.pop(key, None)) is not None:
            self._executor.forget(uid)

    def _count(self, package: PackageView) -> _Count:
        active = frozenset(build.uid for build in self._store.builds_of_package(package))
        return _Count(package.uid, package.generation, self._ends[_key(package)], active)

    def _settled(self, package: PackageView, decision: PackagePlan) -> float | None:
        key = _key(package)
        told = self._ended.get(key)
        if told is not None and _tells_of(package, told):
            del self._ended[key]
        if decision.requeue_at is None:
            return None
        return max(0.05, (decision.requeue_at - self._kube.clock.now()).total_seconds())

    # -- what a plan looks at ----------------------------------------------------------------------------------------

    async def _observe(self, package: PackageView, count: _Count) -> ObservedPackage:
        name = wanted_build(package)
        known = await self._known(package)
        return ObservedPackage(
            package=package,
            now=self._kube.clock.now(),
            rivals=self._store.package_rivals(package),
            project=self._store.project_of(package),
            wanted=None if name is None else await self._find(package.namespace, name),
            builds=known,
            history=await self._history(package) if _is_lost(package, known) or self._is_due(package, count) else None,
            refusal=self._executor.notes.of(package.uid),
        )

    async def _known(self, package: PackageView) -> tuple[BuildView, ...]:
        known = {build.name: build for build in self._store.builds_of_package(package)}
        if (ended := self._ended.get(_key(package))) is not None:
            known[ended.name] = ended
        last = package.status.last_build
        if last is not None and last.state not in TERMINAL and last.name not in known:
            found = await self._find(package.namespace, last.name)
            # A fork's package is known with its end only, of which it is announced.
            if found is not None and (found.package is None or is_of(found, package)):
                known[found.name] = found
        return tuple(known.values())

    async def _find(self, namespace: str, name: str) -> BuildView | None:
        held = self._store.builds.get(namespace, name)
        if held is not None:
            return held
        obj = await self._kube.find(paths.copr("coprbuilds", namespace, name))
        view = None if obj is None else try_view(build_view, obj)
        return None if isinstance(view, str) else view

    def _is_due(self, package: PackageView, now: _Count) -> bool:
        """Whether there may be builds too many."""
        then = self._counted.get(_key(package))
        same = then is not None and (then.uid, then.generation, then.ends) == (now.uid, now.generation, now.ends)
        if same and then is not None and then.active <= now.active:
            return False
        return is_limited(package, self._store.project_of(package))

    async def _history(self, package: PackageView) -> tuple[BuildView, ...]:
        """All builds by the name that was announced and by that of the SRPM; the first may turn out to be another's."""
        spec, path = package.spec, paths.copr("coprbuilds", package.namespace)
        found: dict[str, BuildView] = {}
        for field in ("spec.packageName", "status.source.package.name"):
            selector = f"spec.owner={spec.owner},spec.project={spec.project},{field}={spec.name}"
            async for items, _ in self._kube.list_pages(path, {"fieldSelector": selector}):
                views = (try_view(build_view, item) for item in items)
                found |= {view.uid: view for view in views if not isinstance(view, str) and is_of(view, package)}
                await asyncio.sleep(0)
        return tuple(found.values())


def _tells_of(package: PackageView, ended: BuildView) -> bool:
    """Whether the status knows of this end, or of a newer build."""
    last = package.status.last_build
    if last is None:
        return False
    newer = (last.id or 0) - (ended.status.id or 0)
    return newer > 0 or (newer == 0 and last.state in TERMINAL)


def _is_lost(package: PackageView, known: tuple[BuildView, ...]) -> bool:
    """Whether only a list can tell the last build: nobody has looked at the package yet, or what the status calls the
    last was deleted before its end, or has turned out to be another package's."""
    last = package.status.last_build
    if last is None:
        return package.status.observed_generation == 0
    return last.state not in TERMINAL and last.name not in {build.name for build in known}


def _key(package: PackageView) -> Key:
    return Key("package", package.namespace, package.name)
