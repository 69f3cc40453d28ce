"""`spec.rerunOf` against a real API server: failed chroots are built again, without a source Job."""

from typing import Any

import pytest

from copr_operator.kube.client import ApiError
from tests.support.fake_kubelet import Status, fail_build, plan_of, running, succeed
from tests.support.world import CHROOTS, World

PREFIX = "/control/v1/builds"


def fail_one(pod: dict[str, Any]) -> Status | None:
    """The source step and the first chroot succeed, the second fails in %build."""
    return fail_build(pod) if plan_of(pod).chroot == CHROOTS[1] else succeed(pod)


def reason(build: dict[str, Any]) -> str:
    conditions = (build.get("status") or {}).get("conditions") or []
    return str(next((c["reason"] for c in conditions if c["type"] == "Succeeded"), ""))


async def rerun(here: World, name: str = "again", of: str = "hello", **spec: Any) -> None:
    await here.create_build(name, source=None, rerunOf=of, **spec)


async def failed(here: World) -> dict[str, Any]:
    """The build `hello`, one chroot of which has failed."""
    await here.create_chroots()
    await here.create_project()
    here.kubelet.behaviour = fail_one
    await here.create_build()
    build = await here.until_state("failed")
    here.kubelet.behaviour = succeed
    here.kubelet.seen.clear()
    return build


async def test_only_the_failed_chroot_is_built_again_from_the_same_srpm(here: World) -> None:
    async with here.controller() as controller:
        first = await failed(here)
        before = len(controller.proxy.writes)
        await rerun(here)
        build = await here.until_state("succeeded", "again")
        status, build_id = build["status"], build["status"]["id"]
        assert [(c["name"], c["state"]) for c in status["chroots"]] == [(CHROOTS[1], "succeeded")]
        assert status["source"]["package"] == first["status"]["source"]["package"]
        assert status["source"]["srpm"]["sha256"] == first["status"]["source"]["srpm"]["sha256"]
        assert f"/srpm-builds/{build_id:08d}/" in status["source"]["srpm"]["url"]
        (plan,) = here.kubelet.seen
        assert (plan.step, plan.chroot, plan.build_id) == ("rpm", CHROOTS[1], build_id)
        assert plan.srpm is not None
        assert plan.srpm.sha256 == status["source"]["srpm"]["sha256"]
        assert here.backend.asked.count(f"POST {PREFIX}/{build_id}/srpm") == 1
        mine = [w for w in controller.proxy.writes[before:] if w.status < 400]
        assert sum(w.resource == "jobs" for w in mine) == 1
        assert sum(w.resource == "coprbuilds/status" for w in mine) <= 5
        assert sum(w.resource == "coprbuilds" for w in mine) == 1


async def test_it_waits_for_a_build_that_is_not_there_yet_or_runs_and_starts_by_itself(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    async with here.controller():
        await rerun(here)
        await here.until(lambda b: reason(b) == "OriginalNotFound", "again")
        here.kubelet.behaviour = running
        await here.create_build()
        await here.until(lambda b: reason(b) == "WaitingForOriginal", "again")
        here.kubelet.behaviour = fail_one
        await here.kubelet.look_again()
        await here.until_state("failed")
        here.kubelet.behaviour = succeed
        await here.kubelet.look_again()
        await here.until(lambda b: (b.get("status") or {}).get("state") in ("succeeded", "failed"), "again")
        again = await here.build("again")
        assert [c["name"] for c in again["status"]["chroots"]] == [CHROOTS[1]]


async def test_a_rerun_can_be_rerun_after_the_first_build_is_gone(here: World) -> None:
    async with here.controller():
        await failed(here)
        here.kubelet.behaviour = fail_build
        await rerun(here)
        await here.until_state("failed", "again")
        await here.delete("coprbuilds", "hello")
        await here.until_gone("coprbuilds", "hello")
        here.kubelet.behaviour = succeed
        await rerun(here, "third", "again", chroots=["debian-*"])
        build = await here.until_state("succeeded", "third")
        assert [c["name"] for c in build["status"]["chroots"]] == [CHROOTS[1]]


async def test_what_can_not_be_rerun_fails_with_its_reason(here: World) -> None:
    async with here.controller():
        await failed(here)
        await here.create_project(name="other")
        await rerun(here, "elsewhere", project="other")
        await rerun(here, "well", chroots=[CHROOTS[0]])
        await here.create_build("fine", chroots=[CHROOTS[0]])
        await here.until_state("succeeded", "fine")
        await rerun(here, "of-fine", "fine")
        here.backend.no_srpm = True
        await rerun(here, "late")
        for name, expected in (
            ("elsewhere", "OriginalOfOtherProject"), ("well", "NothingToRerun"), ("of-fine", "NothingToRerun"),
            ("late", "SRPMNotFound"),
        ):  # fmt: skip
            build = await here.until_state("failed", name)
            assert (build["status"]["failure"]["reason"], build["status"]["failure"]["class"]) == (expected, "user")


async def test_it_waits_for_a_backend_that_is_away_and_goes_on_when_it_is_back(here: World) -> None:
    async with here.controller():
        await failed(here)
        here.backend.broken = True
        await rerun(here)
        await here.until(lambda b: reason(b) == "BackendUnavailable", "again")
        here.backend.broken = False
        await here.until_state("succeeded", "again")


async def test_a_rerun_is_canceled_while_it_waits(here: World) -> None:
    async with here.controller():
        await here.create_chroots()
        await here.create_project()
        await rerun(here)
        await here.until(lambda b: reason(b) == "OriginalNotFound", "again")
        await here.patch_build("again", {"spec": {"cancel": True}})
        await here.until_state("canceled", "again")


@pytest.mark.parametrize("spec", [{"rerunOf": "hello"}, {"source": None}])
async def test_the_api_server_wants_a_source_or_a_build_to_rerun(here: World, spec: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="exactly one of source and rerunOf"):
        await here.create_build(**spec)
