"""F24, F25: many builds, at a restart and at once. `make faults` takes more of them."""

import asyncio

import pytest

from copr_operator.kube import paths
from tests.faults.scenario import LONG, ONE, scenario
from tests.support.world import World, eventually

MANY = 1000 if LONG else 20
FLOOD = {
    "labels": {f"label-{number}": "x" * 63 for number in range(200)},
    "annotations": {f"annotation-{number}": "x" * 1000 for number in range(200)},
}
"""About what the API server lets a user put on one object."""


async def create_many(here: World, prefix: str, count: int, **spec: object) -> list[str]:
    names = [f"{prefix}{number}" for number in range(count)]
    limit = asyncio.Semaphore(20)

    async def create(name: str) -> None:
        async with limit:
            await here.create_build(name, **spec)

    await asyncio.gather(*(create(name) for name in names))
    return names


async def states(here: World, state: str) -> int:
    """How many builds are in that state, by the API server's own index."""
    answer = await here.kube.get(paths.copr("coprbuilds", here.namespace), {"fieldSelector": f"status.state={state}"})
    return len(answer["items"])


@pytest.mark.timeout(900)
async def test_f24_a_new_version_that_takes_over_many_builds_writes_nothing(here: World) -> None:
    """Half of them have ended, half wait: the next controller reads them, and leaves them as they are."""
    async with scenario(here, ONE, resync_seconds=2.0) as run:
        await create_many(here, "done", MANY // 2)

        async def ended() -> bool:
            return await states(here, "succeeded") == MANY // 2

        await eventually(ended, lambda: "the builds do not end", 300)
        waiting = await create_many(here, "wait", MANY // 2, afterBuild="absent", queueTimeout=86400)

        async def all_wait() -> bool:
            answer = await here.kube.get(
                paths.copr("coprbuilds", here.namespace), {"fieldSelector": "status.state=pending"}
            )
            reasons = [condition["reason"] for build in answer["items"] for condition in build["status"]["conditions"]]
            return reasons.count("WaitingForBatch") == 3 * (MANY // 2)  # Succeeded, Ready and Reconciling

        await eventually(all_wait, lambda: "the builds do not say what they wait for", 300)
        old = run.controllers.proxy
        run.controllers.kill()

        async def replaced() -> bool:
            return run.controllers.proxy is not old

        await eventually(replaced, lambda: "no new controller")
        await run.controllers.acted(3)
        assert [w for w in run.controllers.proxy.writes if w.resource != "leases"] == []
        for name in waiting:
            await here.patch_build(name, {"spec": {"cancel": True}})

        async def canceled() -> bool:
            return await states(here, "canceled") == MANY // 2

        await eventually(canceled, lambda: "the builds are not canceled", 300)


@pytest.mark.timeout(900)
async def test_f25_many_builds_and_cancels_at_once_all_end_beside_one_of_another(here: World) -> None:
    """Nothing is lost, doubled or given an id twice; the one of another has all the labels that a user can give it.

    Who comes first is not judged here.
    """
    async with scenario(here, ONE) as run:
        many = await create_many(here, "many", MANY)
        await here.create_build("other")
        await here.patch_build("other", {"metadata": FLOOD})
        for name in many[::4]:
            await here.patch_build(name, {"spec": {"cancel": True}})
        await run.ended("other", limit=600)  # it is one of the same project, and waits its turn

        async def ended() -> bool:
            return await states(here, "succeeded") + await states(here, "canceled") == MANY + 1

        await eventually(ended, lambda: "the builds do not end", 600)
        assert len({build.status.id for build in (await run.judged()).builds.values()}) == MANY + 1
