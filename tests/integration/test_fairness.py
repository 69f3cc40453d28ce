"""Many builds of one project beside one of another, against a real API server (F25 of the faults)."""

import asyncio
from typing import Any

from copr_operator.core import names
from copr_operator.kube import paths
from tests.support.fake_kubelet import Status
from tests.support.world import CHROOTS, World, eventually

MANY = 60
WORKERS = 4
"""Of the controller: so many builds are in hand at any time."""


def untouched(pod: dict[str, Any]) -> Status | None:
    return None


async def prepare(here: World) -> None:
    """Two projects, ready, and nothing else to do for a controller."""
    here.kubelet.behaviour = untouched
    await here.create_chroots()
    for name in ("demo", "other"):
        await here.create_project(CHROOTS[0], name=name)

    async def ready() -> bool:
        projects = (await here.kube.get(paths.copr("coprprojects", here.namespace)))["items"]
        conditions = [c for project in projects for c in (project.get("status") or {}).get("conditions", [])]
        return [c["status"] for c in conditions if c["type"] == "Ready"] == ["True", "True"]

    async with here.controller():
        await eventually(ready, lambda: "the projects do not become ready")


async def order_of_jobs(here: World, count: int) -> list[str]:
    """Names of builds in the order in which a new controller takes them up: it gives them their ids, and their Jobs."""
    async with here.controller(workers=WORKERS):

        async def made() -> bool:
            return len(await here.jobs()) == count

        await eventually(made, lambda: "Jobs are missing")
    jobs = sorted(await here.jobs(), key=lambda job: int(job["metadata"]["labels"][names.LABEL_BUILD_ID]))
    return [job["metadata"]["ownerReferences"][0]["name"] for job in jobs]


async def test_a_build_beside_many_of_another_project_is_among_the_first(here: World) -> None:
    await prepare(here)
    await asyncio.gather(*(here.create_build(f"many-{number}") for number in range(MANY)))
    await here.create_build("z-other", project="other")
    order = await order_of_jobs(here, MANY + 1)
    assert order.index("z-other") <= 2 * WORKERS, order


async def test_background_builds_come_after_all_others(here: World) -> None:
    await prepare(here)
    await asyncio.gather(*(here.create_build(f"back-{number}", background=True) for number in range(MANY)))
    await asyncio.gather(*(here.create_build(f"z-{number}") for number in range(4)))
    order = await order_of_jobs(here, MANY + 4)
    assert max(order.index(f"z-{number}") for number in range(4)) <= 4 + 2 * WORKERS, order
