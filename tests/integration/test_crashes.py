"""The controller is killed after each write of a build, and two of them work at once: every run ends the same."""

import asyncio
from typing import Any

import pytest

from copr_operator.core import names
from tests.support.api_proxy import Write
from tests.support.world import CHROOTS, WAIT, World, eventually

WRITES = 9
"""Writes of one undisturbed build that are not Lease renewals, at least: 3 Jobs, 4 or 5 status, 1 metadata, Events."""


async def prepare(here: World) -> None:
    await here.create_chroots()
    await here.create_project()


async def check_the_only_outcome(here: World) -> None:
    """One build, three Jobs of the first attempt, everything succeeded."""
    build = await here.until_state("succeeded")
    uid = build["metadata"]["uid"]
    wanted = {names.job_name(uid, step, 1) for step in (names.SOURCE_STEP, *CHROOTS)}
    assert {job["metadata"]["name"] for job in await here.jobs()} == wanted
    assert [(c["name"], c["state"], c["attempt"]) for c in build["status"]["chroots"]] == [
        (name, "succeeded", 1) for name in CHROOTS
    ]
    assert build["metadata"]["finalizers"] == [names.FINALIZER]


@pytest.mark.parametrize("kill_after", range(1, WRITES + 1))
async def test_killed_after_any_write_whose_answer_is_lost_the_build_ends_the_same(
    here: World, kill_after: int
) -> None:
    await prepare(here)
    killed = asyncio.Event()
    async with here.controller() as first:

        async def ready() -> bool:
            project = await here.kube.get(f"/apis/{names.API_VERSION}/namespaces/{here.namespace}/coprprojects/demo")
            conditions = project["status"].get("conditions", ())
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        await eventually(ready, lambda: "the project does not become ready")
        seen = 0

        async def count(write: Write) -> None:
            nonlocal seen
            if write.resource == "leases":
                return
            seen += 1
            if seen == kill_after:
                first.proxy.dead = True
                killed.set()

        first.proxy.on_write = count
        await here.create_build()
        async with asyncio.timeout(WAIT):
            await killed.wait()
    await here.free_lease()
    async with here.controller():
        await check_the_only_outcome(here)


async def test_two_controllers_at_once_make_no_duplicate(here: World) -> None:
    """Split brain: both believe that they hold the Lease, as after a pause of one of them."""
    await prepare(here)
    async with here.controller() as one, here.controller(split_brain=True) as two:
        assert one.active
        assert two.active
        await asyncio.gather(*(here.create_build(f"b{n}") for n in range(8)))
        builds: list[dict[str, Any]] = [await here.until_state("succeeded", f"b{n}") for n in range(8)]
        assert len({b["status"]["id"] for b in builds}) == 8
        assert len(await here.jobs()) == 24
        for build in builds:
            assert [c["attempt"] for c in build["status"]["chroots"]] == [1, 1]


async def test_a_second_controller_waits_and_takes_over_when_the_first_dies(here: World) -> None:
    """When its Lease is over, which is long enough here for a busy machine to renew it before."""
    await prepare(here)
    async with here.controller(lease_duration=8.0, lease_renew=0.5) as first:
        async with here.controller(wait=False) as second:
            await here.create_build("one")
            await here.until_state("succeeded", "one")
            assert not second.active
            assert second.proxy.writes == []
            first.proxy.dead = True
            await here.create_build("two")
            await here.until_state("succeeded", "two")
            assert second.active
        await first.ended()
        assert first.told_to_stop is False, "a controller that lost its Lease must end"
