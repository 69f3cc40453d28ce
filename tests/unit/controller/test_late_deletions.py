"""Builds that are deleted after their end: nobody holds them, so nothing is done by an old picture of them."""

import asyncio

import pytest

from copr_operator.controller.backend import BackendAwayError, BackendError
from copr_operator.controller.executor import StaleError
from copr_operator.controller.queue import KeyedQueue
from copr_operator.controller.store import Key
from copr_operator.core import names
from tests.unit.controller.reconciling import LEAVING, SPEC, World


@pytest.fixture
def world() -> World:
    return World()


async def test_its_deletion_reads_it_once_and_leaves_nothing_behind(world: World) -> None:
    world.ended("done", **LEAVING)
    assert await world.reconcile("done") is None
    assert (world.backend.removed, world.build("done")["metadata"]["finalizers"]) == ([3], [])
    assert world.requests == ["GET coprbuilds", "PATCH coprbuilds"]
    assert len(world.store.builds) == 0


async def test_it_goes_on_when_somebody_else_has_written_to_it(world: World) -> None:
    """Here Kubernetes' garbage collector, of whose write no watch of running builds tells."""
    world.ended("done", deletionTimestamp=LEAVING["deletionTimestamp"], finalizers=[names.FINALIZER, "foreground"])

    async def meanwhile() -> None:
        world.change("done", metadata={**world.build("done")["metadata"], "finalizers": [names.FINALIZER]})

    world.backend.answer = meanwhile
    with pytest.raises(StaleError):
        await world.reconcile("done")
    await world.reconcile("done")
    assert (world.backend.removed, world.build("done")["metadata"]["finalizers"]) == ([3], [])


async def test_its_results_stay_when_that_is_said_while_the_deletion_waits(world: World) -> None:
    world.ended("done", **LEAVING)

    async def away() -> None:
        raise BackendError("the backend answered 503: away")

    world.backend.answer = away
    assert await world.reconcile("done") is not None
    world.change("done", spec={**SPEC, "results": "Retain"})
    await world.reconcile("done")
    assert (world.backend.removed, world.build("done")["metadata"]["finalizers"]) == ([], [])


@pytest.mark.looptime
async def test_a_backend_that_does_not_answer_them_holds_up_no_cancel() -> None:
    world, workers = World(questions=2), 4
    queue: KeyedQueue[str] = KeyedQueue(lambda name: world.store.turn(Key("build", "ns", name)))

    async def silent() -> None:
        await asyncio.sleep(20)
        raise BackendAwayError("the backend can't be reached: TimeoutError")

    async def work() -> None:
        while True:
            name = await queue.get()
            await world.reconcile(name)
            queue.done(name)

    world.create("runs")
    await world.reconcile("runs")
    world.backend.answer = silent
    for number in range(50):
        world.ended(f"done-{number}", **LEAVING)
        queue.add(f"done-{number}")
    working = [asyncio.create_task(work()) for _ in range(workers)]
    await asyncio.sleep(0.5)
    world.feeder.build("MODIFIED", world.change("runs", spec={**SPEC, "cancel": True}))
    queue.add("runs")
    await asyncio.sleep(1)
    assert world.build("runs")["status"]["state"] == "canceled"
    for task in working:
        task.cancel()
