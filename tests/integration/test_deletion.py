"""What a deletion waits for, and that it says so, against a real API server (in every state: tests/faults)."""

from collections.abc import Callable
from typing import Any

import pytest

from copr_operator.controller.ended import ENDED_SELECTOR
from copr_operator.kube import paths
from tests.support.api_faults import Call
from tests.support.api_proxy import ApiProxy
from tests.support.fake_kubelet import Status, plan_of, running, succeed
from tests.support.world import RunningController, World, eventually


async def prepare(here: World) -> None:
    await here.create_chroots()
    await here.create_project()


def source_then_run(pod: dict[str, Any]) -> Status | None:
    return succeed(pod) if plan_of(pod).step == "source" else running(pod)


def ready(obj: dict[str, Any]) -> tuple[str, str]:
    """Status and reason of the condition Ready."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), ("", ""))


async def project_says(here: World, reason: str) -> dict[str, Any]:
    last: dict[str, Any] = {}

    async def said() -> bool:
        nonlocal last
        last = await here.kube.get(paths.copr("coprprojects", here.namespace, "demo"))
        return ready(last) == ("False", reason)

    await eventually(said, lambda: f"the project says {last.get('status')}")
    return last


async def told(here: World, uid: str) -> None:
    """An Event tells that the deletion waits."""

    async def event() -> bool:
        selector = {"fieldSelector": f"involvedObject.uid={uid},reason=DeletionWaits,type=Warning"}
        return len((await here.kube.get(paths.core("events", here.namespace), selector))["items"]) == 1

    await eventually(event, lambda: "no Event tells that the deletion waits")


async def test_a_project_waits_for_its_running_builds_and_for_its_files_and_says_so(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = source_then_run
    here.backend.grace = True
    async with here.controller():
        await here.create_build()
        await here.until_state("running")
        await here.delete("coprprojects", "demo")
        project = await project_says(here, "BuildsRunning")
        await told(here, project["metadata"]["uid"])
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await here.until_state("succeeded")
        await project_says(here, "ResultsLeft")
        held = [c for c in project["status"]["conditions"] if c["type"] == "NameHeld"]
        assert [c["status"] for c in held] == ["True"], "the name passes on only when the old results are gone"
        here.backend.grace = False
        await here.until_gone("coprprojects", "demo")


async def test_a_project_goes_although_a_build_of_it_waits_for_ever(here: World) -> None:
    """Its source Job has ended, and is kept for an hour: that is no running build."""
    await prepare(here)
    here.kubelet.behaviour = lambda pod: succeed(pod) if plan_of(pod).step == "source" else None
    async with here.controller():
        await here.create_build("held", afterBuild="absent")
        await here.create_build()
        await here.until(lambda build: "starting" in [c["state"] for c in build["status"].get("chroots", ())])
        await here.delete("coprprojects", "demo")
        await project_says(here, "BuildsRunning")
        await here.patch_build("hello", {"spec": {"cancel": True}})
        await here.until_state("canceled")
        await here.until_gone("coprprojects", "demo")
        build = await here.until(lambda b: ready(b) == ("False", "ProjectNotFound"), "held")
        assert build["status"]["state"] == "pending"


@pytest.mark.parametrize("state", ["running", "succeeded"])
async def test_a_build_whose_backend_is_away_says_so_in_an_event_too(here: World, state: str) -> None:
    await prepare(here)
    here.kubelet.behaviour = source_then_run if state == "running" else succeed
    async with here.controller():
        build = await here.create_build()
        await here.until_state(state)
        here.backend.broken = True
        await here.delete("coprbuilds", "hello")
        await here.until(lambda b: ready(b) == ("False", "BackendUnavailable"))
        await told(here, build["metadata"]["uid"])
        here.backend.broken = False
        await here.until_gone("coprbuilds", "hello")


async def test_a_running_build_may_leave_its_results(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = source_then_run
    async with here.controller():
        await here.create_build(results="Retain")
        await here.until_state("running")
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        assert not [asked for asked in here.backend.asked if asked.endswith("/remove")]

        async def nothing() -> bool:
            return not await here.jobs() and not await here.pods()

        await eventually(nothing, lambda: "Jobs or pods are left")


def ended_lists(asked: list[str]) -> Callable[[ApiProxy], None]:
    """Notes each LIST of ended builds."""

    def prepare(proxy: ApiProxy) -> None:
        def note(call: Call) -> None:
            if call.selector == ENDED_SELECTOR and not call.watch:
                asked.append(call.resource)

        proxy.fault = note

    return prepare


@pytest.mark.parametrize("crashed", [False, True])
async def test_the_next_controller_hears_of_ended_builds_from_where_the_last_left_off(
    here: World, *, crashed: bool
) -> None:
    """The second deletion was heard of before the first controller went, and could not be carried out."""
    await prepare(here)
    asked: list[str] = []
    async with here.controller(prepare=ended_lists(asked), lease_renew=0.2) as first:
        for name in ("one", "two", "stays"):
            await here.create_build(name)
        for name in ("one", "two", "stays"):
            await here.until_state("succeeded", name)
        here.backend.broken = True
        await here.delete("coprbuilds", "two")
        await here.until(lambda b: ready(b) == ("False", "BackendUnavailable"), "two")
        assert len(asked) == 1, "nobody had watched before"
        await renewals(first, 2)
        if crashed:
            first.proxy.kill()
    if crashed:
        await here.free_lease()
    await here.delete("coprbuilds", "one")
    here.backend.broken = False
    asked.clear()
    async with here.controller(prepare=ended_lists(asked)):
        await here.until_gone("coprbuilds", "one")
        await here.until_gone("coprbuilds", "two")
        assert asked == []
    assert (await here.build("stays"))["status"]["state"] == "succeeded"


async def renewals(controller: RunningController, count: int) -> None:
    """Returns when the Lease was renewed so many times more."""
    before = controller.proxy.count("leases")

    async def renewed() -> bool:
        return controller.proxy.count("leases") >= before + count

    await eventually(renewed, lambda: "the Lease is not renewed")
