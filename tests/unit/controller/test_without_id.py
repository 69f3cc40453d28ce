"""Builds that come while the backend is away: they get no id, and hold up nobody."""

import asyncio
from typing import Any

from copr_operator.controller.backend import BackendClient, BackendError
from copr_operator.controller.events import EventPoster
from copr_operator.controller.executor import Executor
from copr_operator.controller.feeder import Feeder
from copr_operator.controller.ids import IdAllocator
from copr_operator.controller.metrics import Metrics
from copr_operator.controller.reconciler import Reconciler
from copr_operator.controller.store import Key, Store
from tests.support.builders import CONFIG
from tests.unit.controller.fakes import FakeKube

SPEC = {"owner": "alice", "project": "demo", "source": {"type": "rubygems", "rubygems": {"name": "rails"}}}


class World:
    """Builds before an API server, a controller's reconciler, and a backend that may be away."""

    def __init__(self, *names: str) -> None:
        self.kube, self.away, self.questions = FakeKube(), True, 0
        self.woken: list[Key] = []
        store = Store(self.woken.append, CONFIG.namespace)
        backend: Any = BackendClient
        self.events = EventPoster(self.kube)
        ids = IdAllocator(self.kube, CONFIG.namespace, self._highest_id, retry=0)
        self._reconciler = Reconciler(
            self.kube, store, Executor(self.kube, backend, store, CONFIG), ids, self.events, Metrics(), CONFIG,
            self.woken.append,
        )  # fmt: skip
        self._feeder = Feeder(store)
        for name in names:
            self.see(self.create(name))

    def create(self, name: str, **spec: Any) -> dict[str, Any]:
        meta = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        return self.kube.put(("coprbuilds", "ns", name), {"metadata": meta, "spec": {**SPEC, **spec}})

    def see(self, obj: dict[str, Any]) -> None:
        self._feeder.build("ADDED", obj)

    async def _highest_id(self) -> int:
        self.questions += 1
        if self.away:
            raise BackendError("the backend can't be reached: no route")
        return 6

    async def reconcile(self, name: str) -> float | None:
        return await self._reconciler.reconcile(Key("build", "ns", name))

    async def told(self) -> list[dict[str, Any]]:
        """Events, when all are posted."""
        posting = asyncio.create_task(self.events.run())
        for _ in range(20):
            await asyncio.sleep(0)
        posting.cancel()
        return [obj for (plural, _, _), obj in self.kube.objects.items() if plural == "events"]


async def test_an_event_says_once_that_its_id_waits_for_the_backend_and_nothing_is_written() -> None:
    world = World("one", "two")
    for name in ("one", "two", "one"):
        assert await world.reconcile(name) is not None
    events = await world.told()
    assert sorted(event["involvedObject"]["name"] for event in events) == ["one", "two"]
    assert {(event["type"], event["reason"]) for event in events} == {("Warning", "BackendUnavailable")}
    assert events[0]["message"].endswith("when the backend answers: the backend can't be reached: no route")
    assert all("status" not in obj for (plural, _, _), obj in world.kube.objects.items() if plural == "coprbuilds")


async def test_it_gets_its_id_when_the_backend_is_back() -> None:
    world = World("one")
    await world.reconcile("one")
    world.away = False
    await world.reconcile("one")
    assert world.kube.objects["coprbuilds", "ns", "one"]["status"]["id"] == 7
    assert world.questions == 2


async def test_one_that_another_has_looked_up_before_its_event_came_is_not_forgotten() -> None:
    """Its event brings nothing new then."""
    world = World()
    world.away = False
    world.see(world.create("later", afterBuild="first"))
    first = world.create("first")
    world.woken.clear()
    await world.reconcile("later")
    world.see(first)
    assert Key("build", "ns", "first") in world.woken
