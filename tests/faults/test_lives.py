"""F10 to F16: what people and other programs do to builds, Jobs and pods, in every state of a build."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from copr_operator.core import names
from copr_operator.core.observed import parse_time
from copr_operator.kube import paths
from copr_operator.kube.client import MERGE_PATCH, ApiError, KubeClient
from tests.faults.scenario import LONG, ONE, SIZES, THREE, Run, long_run, scenario, side_by_side
from tests.support.deployment import Deployment
from tests.support.fake_kubelet import Status, disrupted, fail_build, plan_of, running, storing, succeed, waiting
from tests.support.world import World, eventually

Pod = dict[str, Any]


def untouched(pod: Pod) -> Status | None:
    return None


def source_then(then: Callable[[Pod], Status | None]) -> Callable[[Pod], Status | None]:
    return lambda pod: succeed(pod) if plan_of(pod).step == "source" else then(pod)


STATES: dict[str, tuple[Callable[[Pod], Status | None], str]] = {
    "waiting": (untouched, "pending"),
    "source-starting": (untouched, "starting"),
    "source-running": (running, "running"),
    "importing": (storing, "importing"),
    "chroots-starting": (source_then(untouched), "starting"),
    "chroots-running": (source_then(running), "running"),
    "chroots-storing": (source_then(storing), "running"),
    "succeeded": (succeed, "succeeded"),
    "failed": (fail_build, "failed"),
}
"""What pods do, and the state that a build stays in with it. A build that waits does so for another."""


async def reach(run: Run, situation: str, name: str = "hello") -> dict[str, Any]:
    """A build in that situation."""
    behaviour, state = STATES[situation]
    run.here.kubelet.behaviour = behaviour
    waits = {"afterBuild": "absent"} if situation == "waiting" else {}
    await run.here.create_build(name, **waits)
    in_chroots = situation.startswith("chroots")

    def there(build: dict[str, Any]) -> bool:
        status = build.get("status") or {}
        source = (status.get("source") or {}).get("state")
        if in_chroots and {c["state"] for c in status.get("chroots") or ()} != {state}:
            return False
        adopted = names.FINALIZER in build["metadata"].get("finalizers", ())
        return adopted and status.get("state") == state and (source == "succeeded" or not in_chroots)

    return await run.here.until(there, name)


GARBAGE_COLLECTED = 120
"""Seconds: a garbage collector that has just started does not know our kinds for half a minute."""
sizes = pytest.mark.parametrize("chroots", SIZES, ids=lambda chroots: f"{len(chroots)}-chroots")


@sizes
async def test_f13_a_cancel_in_any_state_is_final_within_5_seconds(
    kube: KubeClient, tmp_path: Path, chroots: tuple[str, ...]
) -> None:
    cases = {situation: partial(canceled_in, situation, chroots) for situation in STATES}
    await side_by_side(kube, tmp_path, cases)


async def canceled_in(situation: str, chroots: tuple[str, ...], here: World) -> None:
    ended = situation in ("succeeded", "failed")
    async with scenario(here, chroots) as run:
        await reach(run, situation)
        asked = datetime.now(UTC)
        await here.patch_build("hello", {"spec": {"cancel": True}})
        build = await here.until_state(STATES[situation][1] if ended else "canceled")
        decided = parse_time(build["status"]["endedAt"])  # when it is seen here depends on what else runs
        assert decided is not None
        assert decided - asked < timedelta(seconds=5)
        with pytest.raises(ApiError, match="cancel"):
            await here.patch_build("hello", {"spec": {"cancel": False}})
        await here.patch_build("hello", {"spec": {"cancel": True}})  # twice is once
        if not ended:
            assert {c["state"] for c in build["status"]["chroots"]} == {"canceled"}
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
    build = await here.build()
    assert build["status"]["state"] == (STATES[situation][1] if ended else "canceled")


@sizes
async def test_f11_f12_a_build_deleted_in_any_state_goes_with_all_it_had_and_its_name_is_free(
    kube: KubeClient, tmp_path: Path, chroots: tuple[str, ...]
) -> None:
    cases = {situation: partial(deleted_in, situation, chroots) for situation in STATES}
    await side_by_side(kube, tmp_path, cases)


async def deleted_in(situation: str, chroots: tuple[str, ...], here: World) -> None:
    async with scenario(here, chroots) as run:
        old = await reach(run, situation)
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        assert f"POST /control/v1/builds/{old['status']['id']}/remove" in here.backend.asked
        here.kubelet.behaviour = succeed
        await here.create_build()
        await run.ended("hello")
        new = await here.build()
        assert new["status"]["id"] > old["status"]["id"]

        async def no_old_pods() -> bool:
            mine = new["metadata"]["uid"]
            return all(p["metadata"]["labels"][names.LABEL_BUILD_UID] == mine for p in await here.pods())

        await eventually(no_old_pods, lambda: "pods of the deleted build are left", GARBAGE_COLLECTED)


async def test_f12_a_build_deleted_while_no_controller_runs_goes_when_one_does(
    kube: KubeClient, tmp_path: Path
) -> None:
    async def case(situation: str, here: World) -> None:
        async with scenario(here, ONE) as run:
            old = await reach(run, situation)
            run.controllers.pause()
            await here.delete("coprbuilds", "hello")
            assert (await here.build())["metadata"]["deletionTimestamp"]
            run.controllers.resume()
            await here.until_gone("coprbuilds", "hello")
            assert f"POST /control/v1/builds/{old['status']['id']}/remove" in here.backend.asked

    situations = ("source-running", "chroots-running", "succeeded")
    await side_by_side(kube, tmp_path, {situation: partial(case, situation) for situation in situations})


async def test_f12_a_finalizer_that_is_taken_off_by_hand_leaves_no_pod(here: World) -> None:
    async with scenario(here, THREE) as run:
        await reach(run, "chroots-running")
        run.judge.released.add("hello")
        await here.delete("coprbuilds", "hello")
        body = {"metadata": {"finalizers": None}}
        with contextlib.suppress(ApiError):  # the controller may be faster
            await here.patch_build("hello", body)

        async def nothing() -> bool:
            return not await here.jobs() and not await here.pods()

        await eventually(nothing, lambda: "Jobs or pods are left")


async def test_f13_a_cancel_that_races_the_end_has_one_winner(here: World) -> None:
    """Eight builds, each canceled while its pods end: what is written first stays."""
    async with scenario(here, ONE) as run:
        here.kubelet.behaviour = source_then(running)
        names_ = [f"b{n}" for n in range(8)]
        await asyncio.gather(*(here.create_build(name) for name in names_))
        for name in names_:
            await here.until_state("running", name)
        here.kubelet.behaviour = succeed
        cancels = [here.patch_build(name, {"spec": {"cancel": True}}) for name in names_]
        await asyncio.gather(here.kubelet.look_again(), *cancels)
        await run.ended(*names_, states=("succeeded", "canceled"))


CHANGES: tuple[dict[str, Any], ...] = (
    {"chroots": list(ONE)}, {"chroots": None}, {"timeout": 7200}, {"owner": "eve"},
    {"source": {"link": {"url": "http://other.example/x.src.rpm"}}},
)  # fmt: skip


async def test_f14_a_spec_can_not_be_changed_while_it_is_built(here: World) -> None:
    async with scenario(here, THREE) as run:
        here.kubelet.behaviour = source_then(running)
        await here.create_build(chroots=list(THREE))
        await here.until_state("running")
        for change in CHANGES:
            with pytest.raises(ApiError) as refused:
                await here.patch_build("hello", {"spec": change})
            assert refused.value.status == 422, change
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await run.ended("hello")


async def delete_jobs(here: World) -> None:
    for job in await here.jobs():
        await here.kube.delete(paths.jobs(here.namespace, job["metadata"]["name"]), {"propagationPolicy": "Background"})


async def delete_pods(here: World) -> None:
    for pod in await here.pods():
        await here.kube.delete(paths.core("pods", here.namespace, pod["metadata"]["name"]))


async def evict_pods(here: World) -> None:
    for pod in await here.pods():
        if pod["status"].get("phase") == "Running":
            path = paths.core("pods", here.namespace, pod["metadata"]["name"]) + "/status"
            await here.kube.patch(path, {"status": disrupted(pod)}, content_type=MERGE_PATCH)


async def take_labels(here: World) -> None:
    """No watch shows the chroots' Jobs any more, and they run on."""
    for job in await here.jobs():
        if job["metadata"]["labels"][names.LABEL_STEP] == "rpm":
            path = paths.jobs(here.namespace, job["metadata"]["name"])
            await here.kube.patch(path, {"metadata": {"labels": {names.LABEL_MANAGED_BY: None}}})


DISTURBERS = (delete_jobs, evict_pods, take_labels, *([delete_pods] if LONG else []))


@sizes
async def test_f15_what_a_third_party_ends_is_tried_again(
    kube: KubeClient, tmp_path: Path, chroots: tuple[str, ...]
) -> None:
    async def case(disturb: Callable[[World], Any], here: World) -> None:
        async with scenario(here, chroots) as run:
            await reach(run, "chroots-running")
            here.kubelet.behaviour = succeed
            await disturb(here)
            await run.ended("hello")
            build = await here.build()
            assert [c["attempt"] for c in build["status"]["chroots"]] == [2] * len(chroots)
            assert build["status"]["source"]["attempt"] == 1

    await side_by_side(kube, tmp_path, {disturb.__name__: partial(case, disturb) for disturb in DISTURBERS})


async def test_f15_a_suspended_job_says_so_and_goes_on_when_it_may(here: World) -> None:
    """Queueing systems do that, and people."""
    async with scenario(here, ONE) as run:
        await reach(run, "chroots-starting")
        for job in await here.jobs():
            if job["metadata"]["labels"][names.LABEL_STEP] == "rpm":
                path = paths.jobs(here.namespace, job["metadata"]["name"])
                await here.kube.patch(path, {"spec": {"suspend": True}})
                await here.until(lambda b: "suspended" in b["status"]["conditions"][0]["message"], timeout=15)
                here.kubelet.behaviour = succeed
                await here.kube.patch(path, {"spec": {"suspend": False}})
        await run.ended("hello")
        build = await here.build()
        assert [c["attempt"] for c in build["status"]["chroots"]] == [1]


@sizes
async def test_f16_jobs_that_end_while_no_controller_runs(
    kube: KubeClient, tmp_path: Path, chroots: tuple[str, ...]
) -> None:
    """Those that are still there are read; one that is gone is built again, and is never taken for a success."""

    async def case(collected: bool, here: World) -> None:
        async with scenario(here, chroots) as run:
            await reach(run, "chroots-running")
            run.controllers.pause()
            here.kubelet.behaviour = succeed
            await here.kubelet.look_again()

            async def done() -> bool:
                ends = [(job["status"].get("conditions") or [{}])[-1].get("type") for job in await here.jobs()]
                return set(ends) == {"Complete"}

            await eventually(done, lambda: "the Jobs do not end")
            if collected:
                await delete_jobs(here)
            run.controllers.resume()
            await run.ended("hello")
            build = await here.build()
            assert {c["attempt"] for c in build["status"]["chroots"]} == {2 if collected else 1}

    await side_by_side(kube, tmp_path, {"kept": partial(case, False), "collected": partial(case, True)})


@long_run
async def test_a_pod_that_can_not_start_is_told_of_within_15_seconds_and_starts_when_it_can(
    kube: KubeClient, tmp_path: Path
) -> None:
    async def case(reason: str, here: World) -> None:
        async with scenario(here, ONE) as run:
            here.kubelet.behaviour = source_then(running)
            await here.create_build("warm-up")
            await here.until_state("running", "warm-up")
            here.kubelet.behaviour = source_then(untouched)
            await here.create_build()
            await here.until_state("starting")
            here.kubelet.behaviour = source_then(lambda pod: waiting(pod, reason, "there is no such thing"))
            await here.kubelet.look_again()

            def told(build: dict[str, Any]) -> bool:
                verdict = build["status"]["conditions"][0]
                return bool(verdict["reason"] == "Held" and reason in verdict["message"])

            await here.until(told, timeout=15)
            here.kubelet.behaviour = succeed
            await here.kubelet.look_again()
            await run.ended("hello", "warm-up")

    reasons = ("ErrImagePull", "ImagePullBackOff", "CreateContainerError")
    await side_by_side(kube, tmp_path, {reason: partial(case, reason) for reason in reasons})


async def test_f12_a_project_deleted_with_running_builds_goes_and_its_builds_do_not_run_on(here: World) -> None:
    async with scenario(here, THREE) as run:
        await reach(run, "chroots-running")
        await here.delete("coprprojects", "demo")
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        await here.until_gone("coprprojects", "demo")
        assert "DELETE /control/v1/projects/alice/demo" in here.backend.asked


@long_run
async def test_f12_a_namespace_deleted_with_running_builds_ends(here: World) -> None:
    """The Lease is in that namespace here, and can't be renewed: in an installation it is elsewhere."""
    async with scenario(here, THREE, lease_duration=300.0) as run:
        await reach(run, "chroots-running")
        path = f"/api/v1/namespaces/{here.namespace}"
        await here.kube.delete(path)

        async def gone() -> bool:
            return await here.kube.find(path) is None

        await eventually(gone, lambda: "the namespace stays", 60)


@sizes
async def test_f10_two_controllers_at_once_under_faults_make_no_duplicate(
    here: World, chroots: tuple[str, ...]
) -> None:
    """Each believes that it holds the Lease; both are killed and started again, too."""
    async with scenario(here, chroots, resync_seconds=2.0) as run:
        run.judge.split = True
        async with Deployment(here, prefix="other", resync_seconds=2.0).serve() as others:
            wanted = [f"b{n}" for n in range(4)]
            for number, name in enumerate(wanted):
                await here.create_build(name)
                (run.controllers, others)[number % 2].kill()
            await run.ended(*wanted)
            builds = (await run.judged()).builds.values()
            assert len({b.status.id for b in builds}) == len(wanted)
            assert all({c.attempt for c in b.status.chroots} == {1} for b in builds)
