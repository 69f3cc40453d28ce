"""The controller against a real API server and Job controller; pods are ended by a fake kubelet."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from copr_operator.core import names
from copr_operator.core.wire import StepFailure, StepSummary
from tests.support.fake_kubelet import Status, disrupted, ended, fail_build, plan_of, running, source_summary, succeed
from tests.support.world import CHROOTS, World, eventually


def conditions(build: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in build["status"].get("conditions", ())}


def untouched(pod: dict[str, Any]) -> Status | None:
    """A pod that is never scheduled."""
    return None


async def prepare(here: World) -> None:
    await here.create_chroots()
    await here.create_project()


async def test_a_build_in_two_chroots_succeeds_within_its_write_budget(here: World) -> None:
    await prepare(here)
    async with here.controller() as controller:
        began = asyncio.get_running_loop().time()
        await here.create_build()
        build = await here.until_state("succeeded")
        took = asyncio.get_running_loop().time() - began
        assert build["status"]["id"] >= 1
        assert [c["state"] for c in build["status"]["chroots"]] == ["succeeded", "succeeded"]
        assert [c["packages"] for c in build["status"]["chroots"]] == [4, 4]
        assert conditions(build)["Ready"] == ("True", "Succeeded")
        assert build["status"]["source"]["package"] == {"name": "hello", "version": "2.8-1"}
        assert controller.proxy.count("jobs", "POST") == 3
        # States that last show: at most each two seconds.
        assert controller.proxy.count("coprbuilds/status") <= max(5, 3 + took / 2)
        assert controller.proxy.count("coprbuilds") <= 2


async def test_a_cluster_that_ignores_host_users_runs_nothing_of_a_build(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = untouched
    async with here.controller() as controller:
        controller.proxy.rewrite = lambda body: body.replace(b'"hostUsers":false', b'"hostPID":false')
        await here.create_build()
        build = await here.until_state("failed")
        failure = build["status"]["failure"]
        assert (failure["class"], failure["reason"]) == ("policy", "UserNamespacesUnavailable")
        await eventually(lambda: nothing(here.jobs), lambda: "a Job is left")
        await eventually(lambda: nothing(here.pods), lambda: "a pod is left")


async def nothing(listing: Callable[[], Awaitable[list[Any]]]) -> bool:
    return await listing() == []


async def test_steady_state_restart_and_resync_write_nothing(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build("done")
        await here.until_state("succeeded", "done")
        here.kubelet.behaviour = running
        await here.create_build("going")
        await here.until_state("running", "going")
    async with here.controller(resync_seconds=0.3) as controller:
        # Three resyncs, each of which looks at everything, and the watches' first events.
        await eventually(lambda: reached(controller.metrics, 3), lambda: "no resync was seen")
        quiet = [w for w in controller.proxy.writes if w.resource != "leases"]
        assert quiet == []


async def reached(metrics: Any, resyncs: int) -> bool:
    """Each resync reconciles the one running build once more."""
    value = metrics.registry.get_sample_value("copr_reconcile_total", {"kind": "build", "result": "ok"})
    return value is not None and value >= resyncs


async def test_a_failing_build_shows_whose_fault_it_is_and_the_end_of_its_log(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = fail_build
    async with here.controller():
        await here.create_build()
        build = await here.until_state("failed")
        failure = build["status"]["failure"]
        assert (failure["class"], failure["reason"], failure["step"]) == ("user", "BuildFailed", "build")
        assert failure["chroot"] in CHROOTS
        assert "Bad exit status" in failure["message"]
        assert conditions(build)["Stalled"] == ("True", "BuildFailed")
        assert len(await here.jobs()) == 3, "a user's failure is not retried"


async def test_a_disrupted_pod_is_retried_with_the_next_attempt(here: World) -> None:
    await prepare(here)

    def disrupted_once(pod: dict[str, Any]) -> Status | None:
        plan = plan_of(pod)
        if plan.step == "rpm" and plan.attempt == 1:
            return disrupted(pod)
        return succeed(pod)

    here.kubelet.behaviour = disrupted_once
    async with here.controller():
        await here.create_build()
        build = await here.until_state("succeeded")
        assert [c["attempt"] for c in build["status"]["chroots"]] == [2, 2]
        assert build["status"]["source"]["attempt"] == 1


async def test_chroots_that_the_srpm_rules_out_get_no_pod(here: World) -> None:
    await prepare(here)

    def only_arm(pod: dict[str, Any]) -> Status | None:
        return ended(pod, 0, source_summary(exclusive_arch=("aarch64",)))

    here.kubelet.behaviour = only_arm
    async with here.controller():
        await here.create_build()
        build = await here.until_state("skipped")
        assert conditions(build)["Succeeded"] == ("True", "Skipped")
        assert len(await here.jobs()) == 1


async def test_a_build_waits_with_a_reason_and_starts_by_itself(here: World) -> None:
    async with here.controller():
        await here.create_build()
        await here.until(lambda b: conditions(b).get("Succeeded") == ("Unknown", "ProjectNotFound"))
        await here.create_project()
        await here.until(lambda b: conditions(b)["Succeeded"] == ("Unknown", "ChrootNotFound"))
        await here.create_chroots()
        build = await here.until_state("succeeded")
        assert build["status"]["id"] >= 1


async def forbid(here: World, what: str) -> str:
    """A quota of zero; returns its path once it is enforced."""
    spec = {"hard": {what: "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": spec}
    path = f"/api/v1/namespaces/{here.namespace}/resourcequotas"
    await here.kube.create(path, quota)

    async def enforced() -> bool:
        return bool((await here.kube.get(f"{path}/none")).get("status", {}).get("hard"))

    await eventually(enforced, lambda: "the quota is not enforced")
    return f"{path}/none"


def held_by_quota(build: dict[str, Any]) -> bool:
    found = [c for c in build.get("status", {}).get("conditions", []) if c["type"] == "Succeeded"]
    return bool(found) and found[0]["reason"] == "Held" and "exceeded quota" in found[0]["message"]


async def test_a_pod_that_quota_holds_back_is_explained_from_the_events_of_its_job(here: World) -> None:
    await prepare(here)
    await forbid(here, "pods")
    async with here.controller():
        await here.create_build()
        build = await here.until(held_by_quota)
        assert build["status"]["state"] == "starting"


async def test_a_job_that_quota_refuses_starts_by_itself_when_there_is_room(here: World) -> None:
    await prepare(here)
    quota = await forbid(here, "count/jobs.batch")
    async with here.controller():
        await here.create_build()
        build = await here.until(held_by_quota)
        assert build["status"]["state"] == "pending"
        await here.kube.delete(quota)
        await here.until_state("succeeded")


async def test_cancel_stops_the_pods_and_is_final(here: World) -> None:
    await prepare(here)

    def source_then_run(pod: dict[str, Any]) -> Status | None:
        return succeed(pod) if plan_of(pod).step == "source" else running(pod)

    here.kubelet.behaviour = source_then_run
    async with here.controller():
        await here.create_build()
        await here.until_state("running")
        await here.patch_build("hello", {"spec": {"cancel": True}})
        build = await here.until_state("canceled")
        assert {c["state"] for c in build["status"]["chroots"]} == {"canceled"}
        assert conditions(build)["Succeeded"] == ("False", "Canceled")

        async def stopped() -> bool:
            return not [p for p in await here.pods() if p["status"].get("phase") == "Running"]

        await eventually(stopped, lambda: "pods run on after the cancel")


async def test_deleting_a_running_build_stops_it_removes_its_results_and_lets_it_go(here: World) -> None:
    await prepare(here)
    here.kubelet.behaviour = running
    async with here.controller():
        await here.create_build()
        await here.until_state("running")
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        assert any(asked.endswith("/remove") for asked in here.backend.asked)
        # A Job that was stopped is the garbage collector's, which is the cluster's.
        await eventually(lambda: nothing(here.jobs), lambda: "its Jobs stay")


async def test_a_full_store_is_told_and_the_build_goes_on_when_there_is_room(here: World) -> None:
    await prepare(here)
    full = StepSummary(outcome="failed", failure=StepFailure(reason="StorageFull", message="the store is full"))

    def store(pod: dict[str, Any]) -> Status | None:
        plan = plan_of(pod)
        return ended(pod, 0, full, collect_code=75) if plan.step == "rpm" and plan.attempt == 1 else succeed(pod)

    here.kubelet.behaviour = store
    here.deadlines = replace(here.deadlines, retry_base=3)
    async with here.controller():
        await here.create_build()
        build = await here.until(lambda b: "StorageFull" in str((b.get("status") or {}).get("conditions")))
        assert conditions(build)["Succeeded"] == ("Unknown", "Retrying")
        build = await here.until_state("succeeded")
        assert [c["attempt"] for c in build["status"]["chroots"]] == [2, 2]


async def test_a_deleted_build_may_leave_its_results(here: World) -> None:
    """`results: Retain` may be set at any time before."""
    await prepare(here)
    async with here.controller():
        await here.create_build()
        await here.until_state("succeeded")
        await here.patch_build("hello", {"spec": {"results": "Retain"}})
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        assert not [asked for asked in here.backend.asked if asked.endswith("/remove")]


async def test_deleting_an_ended_build_works_although_it_is_not_watched(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build()
        await here.until_state("succeeded")
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        assert any(asked.endswith("/remove") for asked in here.backend.asked)


async def test_a_deletion_waits_for_an_absent_backend_with_a_reason_and_goes_on_by_itself(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build()
        await here.until_state("succeeded")
        here.backend.broken = True
        await here.delete("coprbuilds", "hello")
        await here.until(lambda b: conditions(b)["Reconciling"] == ("True", "BackendUnavailable")
                         if "Reconciling" in conditions(b) else False)  # fmt: skip
        here.backend.broken = False
        await here.until_gone("coprbuilds", "hello")


async def test_a_late_cancel_of_an_ended_build_is_acknowledged_and_changes_nothing(here: World) -> None:
    await prepare(here)
    async with here.controller():
        await here.create_build()
        await here.until_state("succeeded")
        await here.patch_build("hello", {"spec": {"cancel": True}})
        build = await here.until(lambda b: b["status"]["observedGeneration"] == b["metadata"]["generation"])
        assert build["status"]["state"] == "succeeded"


async def test_a_build_after_another_waits_for_its_whole_batch(here: World) -> None:
    await prepare(here)

    def hold_library(pod: dict[str, Any]) -> Status | None:
        held = pod["metadata"]["labels"][names.LABEL_BUILD_ID] == library_id and plan_of(pod).step == "rpm"
        return None if held else succeed(pod)

    library_id = "none"
    async with here.controller():
        here.kubelet.behaviour = untouched
        await here.create_build("library")
        first = await here.until_state("starting", "library")
        library_id = str(first["status"]["id"])
        await here.create_build("application", afterBuild="library")
        await here.until(
            lambda b: conditions(b).get("Succeeded") == ("Unknown", "WaitingForBatch"), "application"
        )  # fmt: skip
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await here.until_state("succeeded", "library")
        await here.until_state("succeeded", "application")


async def test_many_builds_at_once_have_different_ids_and_all_end(here: World) -> None:
    await prepare(here)
    async with here.controller() as controller:
        await asyncio.gather(*(here.create_build(f"b{number}") for number in range(25)))
        builds = [await here.until_state("succeeded", f"b{number}") for number in range(25)]
        assert len({b["status"]["id"] for b in builds}) == 25
        assert controller.proxy.count("jobs", "POST") == 75


async def test_a_summary_that_is_not_one_is_an_infrastructure_failure_after_three_attempts(here: World) -> None:
    await prepare(here)

    def garbled(pod: dict[str, Any]) -> Status | None:
        status = ended(pod, 0, StepSummary(outcome="succeeded"))
        status["containerStatuses"][1]["state"]["terminated"]["message"] = "{not json"
        return status

    here.kubelet.behaviour = garbled
    async with here.controller():
        await here.create_build()
        build = await here.until_state("failed")
        failure = build["status"]["failure"]
        assert (failure["class"], failure["reason"]) == ("infra", "CollectFailed")
        assert build["status"]["source"]["attempt"] == 3
        assert len(await here.jobs()) == 3
