"""F3 to F6: what the controller is shown is old, incomplete, repeated, out of order, or nothing at all."""

import asyncio
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from copr_operator.controller import main
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import KubeClient
from tests.faults.scenario import ONE, SEED, SIZES, THREE, Run, scenario, side_by_side
from tests.support.api_faults import Call, Delay, Event, Fault
from tests.support.api_proxy import ApiProxy
from tests.support.fake_kubelet import Status, plan_of, running, succeed
from tests.support.world import World, eventually

OURS = ("coprbuilds", "coprprojects", "coprchroots", "jobs", "pods")


def source_then_run(pod: dict[str, Any]) -> Status | None:
    return succeed(pod) if plan_of(pod).step == "source" else running(pod)


async def revision(here: World) -> str:
    return str((await here.kube.get(paths.jobs(here.namespace)))["metadata"]["resourceVersion"])


async def let_go(here: World) -> None:
    """The pods that run succeed."""
    here.kubelet.behaviour = succeed
    await here.kubelet.look_again()


@pytest.mark.parametrize("chroots", SIZES, ids=lambda chroots: f"{len(chroots)}-chroots")
async def test_f3_a_controller_that_starts_at_an_api_server_which_stands_still_doubles_nothing(
    here: World, chroots: tuple[str, ...]
) -> None:
    """Its first LIST shows the build without id, Jobs and pods that its predecessor has long made."""
    here.kubelet.behaviour = source_then_run
    async with scenario(here, chroots, resync_seconds=1.0) as run:
        await ready_project(run)
        before = await revision(here)
        await here.create_build()
        new = await revision(here)
        await here.until_state("running")
        for version in (before, new):
            old = run.controllers.proxy
            run.controllers.prepare = partial(stand_still, version)
            run.controllers.kill()
            await eventually(partial(replaced, run, old), lambda: "no new controller")
            await run.controllers.acted(3)  # it lists, plans and resyncs by what it is shown
        assert (await here.build())["status"]["state"] == "running"
        await let_go(here)
        run.controllers.prepare = None
        run.controllers.proxy.freeze.thaw()
        await run.ended("hello")
        build = await here.build()
        assert [c["attempt"] for c in build["status"]["chroots"]] == [1] * len(chroots)
        assert len((await run.judged()).works) == 1 + len(chroots)


def stand_still(version: str, proxy: ApiProxy) -> None:
    proxy.freeze.at(version)


async def ready_project(run: Run) -> None:
    path = paths.copr("coprprojects", run.here.namespace, "demo")

    async def probe() -> bool:
        status = (await run.here.kube.get(path)).get("status") or {}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))

    await eventually(probe, lambda: "the project does not become ready")


async def replaced(run: Run, old: object) -> bool:
    return run.controllers.proxy is not old and run.controllers.current is not None and run.controllers.current.active


async def test_f3_watches_that_lag_behind_the_controllers_own_writes_are_no_news(here: World) -> None:
    """Everything that it did is shown to it only after it has done more."""
    async with scenario(here, THREE, resync_seconds=2.0) as run:
        await ready_project(run)
        run.controllers.proxy.freeze.at(await revision(here))
        await here.create_build()
        await asyncio.sleep(3)  # longer than a resync, which stands still too
        assert "state" not in (await here.build())["status"], "it was shown what it should not see"
        run.controllers.proxy.freeze.thaw()
        await run.ended("hello")


async def test_f3_resyncs_from_before_the_controllers_own_writes_undo_none_of_them(here: World) -> None:
    """It makes a Job, and LISTs go on to show a world without it: there is still one Job, of the first attempt."""

    def late(call: Call) -> Fault | None:
        return Delay(1.0) if (call.method, call.resource) == ("POST", "jobs") else None

    here.kubelet.behaviour = source_then_run
    async with scenario(here, THREE, fault=late, resync_seconds=0.5) as run:
        await here.create_build()
        await here.until(lambda build: names.FINALIZER in build["metadata"].get("finalizers", ()))
        run.controllers.proxy.freeze.at(await revision(here))

        async def made() -> bool:
            return run.controllers.proxy.count("jobs", "POST") > 0

        await eventually(made, lambda: "no Job is made")
        await run.controllers.acted(4)
        asked = [write for write in run.controllers.proxy.writes if (write.method, write.resource) == ("POST", "jobs")]
        assert len(asked) == 1, "it asks again for a Job that it has made"
        run.controllers.proxy.freeze.thaw()
        await here.until_state("running")
        await let_go(here)
        await run.ended("hello")
        build = await here.build()
        assert {c["attempt"] for c in (build["status"]["source"], *build["status"]["chroots"])} == {1}


SHARES: dict[str, dict[Event, float]] = {
    "f4-dropped": {Event.DROP: 0.6},
    "f5-cut": {Event.CUT: 0.3},
    "f5-gone": {Event.GONE: 0.3},
    "f5-silent": {Event.SILENT: 0.3},
    "f5-bookmarks-only": {Event.BOOKMARKS: 0.3},
    "f6-repeated-and-reordered": {Event.REPEAT: 0.3, Event.OLDER: 0.3, Event.LATE: 0.2},
    "delayed": {Event.DELAY: 0.3},
}


def chance(seed: str, shares: dict[Event, float]) -> Any:
    """Decides by the seed, the kind of the object and how many events there were of it."""
    counts: dict[str, int] = {}

    def decide(call: Call, _number: int, _event: dict[str, Any]) -> Event:
        if call.resource not in OURS:
            return Event.PASS
        counts[call.resource] = counts.get(call.resource, 0) + 1
        chooser = random.Random(f"{seed}/{call.resource}/{counts[call.resource]}")  # noqa: S311
        kinds = [*shares, Event.PASS]
        return chooser.choices(kinds, [*shares.values(), 1 - sum(shares.values())])[0]

    return decide


async def test_f4_f5_f6_builds_end_right_whatever_becomes_of_the_events(kube: KubeClient, tmp_path: Path) -> None:
    """What no event shows, the resync finds."""

    async def case(kind: str, here: World) -> None:
        async with scenario(here, THREE, event=chance(f"{SEED}/{kind}", SHARES[kind]), resync_seconds=1.0) as run:
            for number in range(3):
                await here.create_build(f"b{number}")
            await here.create_build("single", chroots=[ONE[0]])
            await run.ended("b0", "b1", "b2", "single")
            await here.delete("coprbuilds", "b0")
            await here.until_gone("coprbuilds", "b0")
            assert set(run.controllers.made) & {event.name for event in SHARES[kind]}, "no fault was made"

    await side_by_side(kube, tmp_path, {kind: partial(case, kind) for kind in SHARES})


async def test_f5_a_liveness_probe_fails_when_the_watches_are_half_open(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not before: a controller whose watch shows its Lease's renewals is well."""
    limit = 6.0
    monkeypatch.setattr(main, "HEARTBEAT_LIMIT", limit)
    silent = False

    def decide(call: Call, _number: int, _event: dict[str, Any]) -> Event:
        return Event.SILENT if silent else Event.PASS

    async with scenario(here, ONE, event=decide, lease_renew=0.5, resync_seconds=1.0) as run:
        controller = run.controllers.current
        assert controller is not None
        await here.create_build()
        await run.ended("hello")
        await here.create_build("seen")  # by kopf's watch, which has begun then
        await run.ended("seen")
        await asyncio.sleep(limit + 0.5)
        assert await controller.problem() == ""
        silent = True

        async def unwell() -> bool:
            return "silent" in await controller.problem()

        await eventually(unwell, lambda: "the probe does not fail")
        run.controllers.kill()
        silent = False
        await here.create_build("next")
        await run.ended("next")
