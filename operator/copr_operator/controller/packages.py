"""One reconciliation of a CoprPackage: what is known of its builds, a plan, and what that asks for."""

import asyncio
from dataclasses import dataclass

from copr_operator.api.common import TERMINAL
from copr_operator.controller.executor import Executor
from copr_operator.controller.store import Key, Store
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, PackageView
from copr_operator.core.package import ObservedPackage, PackagePlan, is_limited, plan_package, wanted_build
from copr_operator.core.views import build_view, try_view
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient

ROUNDS = 6
"""Plans that may follow one another in one reconciliation."""


@dataclass(frozen=True)
class _Count:
    """What a package and its builds were when they were counted last. Nothing is too many until one of these ends."""

    uid: str
    generation: int
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

    def ended(self, build: BuildView) -> None:
        """A build has just ended: its packages must hear of it."""
        for package in self._store.packages_of(build):
            self._ended[_key(package)] = build
            self._counted.pop(_key(package), None)
        self._store.wake_packages(build)

    async def reconcile(self, key: Key) -> float | None:
        """Brings one package forward; in how many seconds to look again. Raises StaleError and ApiError."""
        for _ in range(ROUNDS):
            package = self._store.packages.get(key.namespace, key.name)
            if package is None or package.deleting:
                self._ended.pop(key, None)
                self._counted.pop(key, None)
                return None
            count = self._count(package)
            decision = plan_package(await self._observe(package, count), self._config)
            if decision.actions:
                await self._executor.run_package(package, decision.actions)
                continue
            if decision.status is not None and self._executor.is_news(package, decision.status):
                written = await self._executor.write_package_status(package, decision.status)
                if written is not None:
                    self._store.assume_package(written)
                continue
            return self._settled(package, decision, count)
        return 0.0

    def _count(self, package: PackageView) -> _Count:
        active = frozenset(build.uid for build in self._store.builds_of_package(package))
        return _Count(package.uid, package.generation, active)

    def _settled(self, package: PackageView, decision: PackagePlan, count: _Count) -> float | None:
        key = _key(package)
        last, told = package.status.last_build, self._ended.get(key)
        if told is not None and last is not None and (last.id or 0) >= (told.status.id or 0):
            del self._ended[key]
        if decision.counted:
            self._counted[key] = count
        if decision.requeue_at is None:
            return None
        return max(0.05, (decision.requeue_at - self._kube.clock.now()).total_seconds())

    # -- what a plan looks at ----------------------------------------------------------------------------------------

    async def _observe(self, package: PackageView, count: _Count) -> ObservedPackage:
        name = wanted_build(package)
        return ObservedPackage(
            package=package,
            now=self._kube.clock.now(),
            rivals=self._store.package_rivals(package),
            project=self._store.project_of(package),
            wanted=None if name is None else await self._find(package.namespace, name),
            builds=await self._known(package),
            history=await self._history(package) if self._is_due(package, count) else None,
            refusal=self._executor.notes.of(package.uid),
        )

    async def _known(self, package: PackageView) -> tuple[BuildView, ...]:
        known = {build.name: build for build in self._store.builds_of_package(package)}
        if (ended := self._ended.get(_key(package))) is not None:
            known[ended.name] = ended
        last = package.status.last_build
        if last is not None and last.state not in TERMINAL and last.name not in known:
            found = await self._find(package.namespace, last.name)
            if found is not None:
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
        same = then is not None and (then.uid, then.generation) == (now.uid, now.generation)
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
                found |= {view.uid: view for view in views if not isinstance(view, str) and view.package == spec.name}
                await asyncio.sleep(0)
        return tuple(found.values())


def _key(package: PackageView) -> Key:
    return Key("package", package.namespace, package.name)
