"""A reconciler before an API server and a backend, with a project and its chroot, and builds that are due."""

from collections.abc import Awaitable, Callable
from typing import Any

from copr_operator.controller.events import EventPoster
from copr_operator.controller.executor import Executor
from copr_operator.controller.feeder import Feeder
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.results import QUESTIONS
from copr_operator.controller.store import Key, Store
from copr_operator.core import names
from tests.support.builders import CONFIG, D12
from tests.unit.controller.fakes import FakeKube

SPEC = {"owner": "alice", "project": "demo", "source": {"type": "rubygems", "rubygems": {"name": "rails"}}}
FAILED = {
    "id": 3, "state": "failed", "observedGeneration": 1, "source": {"state": "failed"},
    "chroots": [{"name": D12, "state": "failed"}],
}  # fmt: skip
NOW = "2026-01-01T12:00:00Z"
LEAVING = {"deletionTimestamp": NOW, "finalizers": [names.FINALIZER]}
HELD = {"type": "NameHeld", "status": "True", "lastTransitionTime": NOW, "reason": "NameHeld"}


async def at_once() -> None:
    """A backend that answers."""


class Backend:
    def __init__(self) -> None:
        self.answer: Callable[[], Awaitable[None]] = at_once
        self.removed: list[int] = []

    async def remove_build(self, build_id: int, request: object) -> None:
        await self.answer()
        self.removed.append(build_id)

    async def ensure_repository(self, *place: str) -> None:
        await self.answer()

    async def highest_id(self) -> int:
        return 6


class World:
    def __init__(self, questions: int = QUESTIONS) -> None:
        """`questions`: how many the backend is asked at the same time."""
        self.kube, self.backend = FakeKube(), Backend()
        self.woken: list[Key] = []
        self.requests: list[str] = []
        """Method and plural of each request."""
        self.store = Store(self.woken.append, CONFIG.namespace)
        self.feeder = Feeder(self.store)
        backend: Any = self.backend
        self.executor = Executor(self.kube, backend, self.store, CONFIG, questions=questions)
        ids = IdAllocator(self.kube, CONFIG.namespace, self.backend.highest_id, retry=0)
        self._reconciler = Reconciler(
            self.kube, self.store, self.executor, ids, EventPoster(self.kube), Metrics(), CONFIG, self.woken.append
        )
        self.kube.before = self._note
        status = {"conditions": [HELD], "chroots": [{"name": D12, "ready": True}]}
        spec = {"owner": "alice", "name": "demo", "chroots": [{"name": D12}]}
        self.feeder.project(None, self._put("coprprojects", "ns", "demo", spec=spec, status=status))
        self.define(D12)

    async def _note(self, method: str, path: str) -> None:
        self.requests.append(f"{method} {next(p for p in reversed(path.split('/')) if p in PLURALS)}")

    def _put(self, plural: str, namespace: str, name: str, **parts: Any) -> dict[str, Any]:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": NOW}
        return self.kube.put((plural, namespace, name), {**parts, "metadata": {**meta, **parts.get("metadata", {})}})

    def define(self, chroot: str) -> None:
        spec = {"name": chroot, "image": "image:1", "arch": "x86_64"}
        obj = self._put("coprchroots", CONFIG.namespace, chroot.replace("_", "-"), spec=spec)
        self.feeder.chroot("ADDED", obj)

    def create(self, name: str, **spec: Any) -> None:
        """A build that the watch shows."""
        self.feeder.build("ADDED", self._put("coprbuilds", "ns", name, spec={**SPEC, **spec}))

    def ended(self, name: str, **metadata: Any) -> None:
        """A build that no watch shows."""
        self._put("coprbuilds", "ns", name, spec=SPEC, status=FAILED, metadata=metadata)

    def build(self, name: str) -> dict[str, Any]:
        return self.kube.objects["coprbuilds", "ns", name]

    def change(self, name: str, **parts: Any) -> dict[str, Any]:
        """What another client has written of a build."""
        return self.kube.put(("coprbuilds", "ns", name), {**self.build(name), **parts})

    async def reconcile(self, name: str) -> float | None:
        return await self._reconciler.reconcile(Key("build", "ns", name))


PLURALS = {"coprbuilds", "coprprojects", "coprpackages", "coprchroots", "jobs", "events", "configmaps", "status"}
