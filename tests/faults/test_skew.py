"""Clocks that disagree (F10), and CRDs that are older or newer than the controller (F24)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient
from tests.cluster.api import Cluster
from tests.faults.scenario import ONE, SIZES, Run, scenario, side_by_side
from tests.support.fake_kubelet import Behaviour, Status, disrupted, plan_of, running, storing, succeed
from tests.support.fixtures import CRDS, apply_crd
from tests.support.world import World, eventually, manifest

Obj = dict[str, Any]
HOURS = 2 * 3600.0
"""More than any deadline of the builds here."""


class PatientClient(KubeClient):
    """Asks again while the API server changes to another CRD: it answers 429 then, now and then even a moment later."""

    async def _json(self, *args: Any, **options: Any) -> Obj:
        while True:
            try:
                return await super()._json(*args, **options)
            except ApiError as error:
                if error.status != 429:
                    raise
            await asyncio.sleep(0.1)


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[KubeClient]:
    """The tests' own; the controller's is as ever."""
    async with await PatientClient.from_environment(kubeconfig=str(cluster.kubeconfig)) as client:
        yield client


def chroots_first(then: Behaviour) -> Behaviour:
    """The source step succeeds, the first try of each chroot is evicted, what the second one does is given."""

    def behave(pod: Obj) -> Status | None:
        if plan_of(pod).step == "source":
            return succeed(pod)
        return disrupted(pod) if pod["metadata"]["name"].rpartition("-")[0].endswith("-1") else then(pod)

    return behave


@pytest.mark.parametrize("chroots", SIZES, ids=lambda chroots: f"{len(chroots)}-chroots")
async def test_f10_no_deadline_and_no_pause_is_missed_because_a_clock_is_wrong(
    kube: KubeClient, tmp_path: Path, chroots: tuple[str, ...]
) -> None:
    """Of the controller's machine or of a node, two hours ahead or behind. Each chroot is tried again, runs, stores."""

    async def case(controller: float, node: float, here: World) -> None:
        here.clock_off, here.kubelet.clock_off = controller, node
        async with scenario(here, chroots, resync_seconds=1.0) as run:
            for behaviour in (running, storing):
                here.kubelet.behaviour = chroots_first(behaviour)
                if behaviour is running:
                    await here.create_build(timeout=60)
                await here.kubelet.look_again()
                await here.until(lambda build: all_chroots(build, "running"))
                await run.controllers.acted(3)
                assert all_chroots(await here.build(), "running"), (await here.build())["status"]
            here.kubelet.behaviour = chroots_first(succeed)
            await here.kubelet.look_again()
            await run.ended("hello")

    cases = {
        "controller-ahead": partial(case, HOURS, 0),
        "controller-behind": partial(case, -HOURS, 0),
        "node-ahead": partial(case, 0, HOURS),
        "node-behind": partial(case, 0, -HOURS),
    }
    await side_by_side(kube, tmp_path, cases)


def all_chroots(build: Obj, state: str) -> bool:
    return [(c["state"], c["attempt"]) for c in build["status"].get("chroots") or ()] == [
        (state, 2) for _ in build["status"].get("chroots") or "none"
    ]


# -- CRDs of another version ------------------------------------------------------------------------------------------


def crd() -> tuple[Obj, Obj]:
    """The CRD of CoprBuilds, and its schema's properties."""
    whole: Obj = yaml.safe_load((CRDS / "copr-operator.dev_coprbuilds.yaml").read_text())
    return whole, whole["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


@contextlib.asynccontextmanager
async def installed(here: World, other: Obj, shows: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
    """Another CRD. `shows` asks the API server something that tells whether it goes by it."""
    try:
        await install(here, other, shows, True)
        yield
    finally:
        await install(here, crd()[0], shows, False)


async def install(here: World, which: Obj, shows: Callable[[], Awaitable[bool]], expected: bool) -> None:
    """The former CRD counts for a moment longer."""

    async def probe() -> bool:
        return await shows() is expected

    await apply_crd(here.kube, which)
    await eventually(probe, lambda: "the API server does not go by the CRD")


def older() -> Obj:
    """It does not know where the repositories are, and when a step has started."""
    whole, properties = crd()
    status = properties["status"]["properties"]
    del status["repoURL"]
    del status["source"]["properties"]["startedAt"]
    del status["chroots"]["items"]["properties"]["startedAt"]
    return whole


async def test_f24_a_status_that_older_crds_know_in_part_is_written_once(here: World) -> None:
    """The build is looked at again and again while it runs, and its start can't be kept."""
    async with scenario(here, ONE, resync_seconds=0.5) as run:
        await here.create_build("probe", afterBuild="absent")

        async def drops() -> bool:
            path = paths.copr("coprbuilds", here.namespace, "probe", "status")
            written = await here.kube.patch(path, {"status": {"repoURL": "https://copr.example"}}, {"dryRun": "All"})
            return "repoURL" not in written["status"]

        async with installed(here, older(), drops):
            here.kubelet.behaviour = running
            await here.create_build()
            build = await here.until_state("running")
            assert "repoURL" not in build["status"]
            assert "startedAt" not in build["status"]["source"]
            await run.controllers.acted(5)  # what is true is written within two seconds
            writes = status_writes(run, "hello")
            for number in range(3):
                await here.patch_build("hello", {"metadata": {"annotations": {"touched": str(number)}}})
                await run.controllers.acted(3)
            assert status_writes(run, "hello") == writes
            here.kubelet.behaviour = succeed
            await here.kubelet.look_again()
            await run.ended("hello")
            await here.patch_build("probe", {"spec": {"cancel": True}})
            await run.ended("probe", states=("canceled",))


def status_writes(run: Run, name: str) -> int:
    return sum(write.name == name for write in run.controllers.proxy.writes if write.resource == "coprbuilds/status")


def newer() -> Obj:
    """It knows one more source, and one more state."""
    whole, properties = crd()
    properties["status"]["properties"]["state"]["enum"].append("dreaming")
    source = properties["spec"]["properties"]["source"]
    source["properties"]["type"]["enum"].append("hologram")
    source["properties"]["hologram"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    del source["x-kubernetes-validations"]
    return whole


HOLOGRAM = {"type": "hologram", "hologram": {"wavelength": 633}}


def hologram() -> Obj:
    return manifest("CoprBuild", "probe", {"owner": "alice", "project": "demo", "source": HOLOGRAM})


async def admits_holograms(here: World) -> bool:
    try:
        await here.kube.create(paths.copr("coprbuilds", here.namespace), hologram(), {"dryRun": "All"})
    except ApiError as error:
        if error.status != 422:
            raise
        return False
    return True


async def test_f24_a_build_that_only_a_newer_version_understands_says_so_and_harms_no_other(here: World) -> None:
    newer_ones = installed(here, newer(), partial(admits_holograms, here))
    async with scenario(here, ONE, resync_seconds=0.5) as run, newer_ones:
        for name in ("to-cancel", "to-delete"):
            await here.create_build(name, source=HOLOGRAM)
            build = await here.until(lambda b: reasons(b) == {"SpecNotUnderstood"}, name)
            assert build["status"]["state"] == "pending"
            assert "source.type" in build["status"]["conditions"][0]["message"]
        await here.create_build()
        await run.ended("hello")
        assert len(await here.jobs()) == 2  # those of the build that is understood
        await here.patch_build("to-cancel", {"spec": {"cancel": True}})
        await run.ended("to-cancel", states=("canceled",))
        await here.delete("coprbuilds", "to-delete")
        await here.until_gone("coprbuilds", "to-delete")
        for name in ("to-cancel", "hello"):
            await here.delete("coprbuilds", name)
            await here.until_gone("coprbuilds", name)


async def test_f24_a_status_that_only_a_newer_version_understands_is_kept_and_the_build_can_be_deleted(
    here: World,
) -> None:
    """After a rollback. The pods of such a build are the newer version's too, until it is deleted."""
    await here.create_chroots()
    await here.create_project()
    here.kubelet.behaviour = running
    async with installed(here, newer(), partial(admits_holograms, here)):
        async with here.controller():
            await here.create_build()
            await here.until_state("running")
        path = paths.copr("coprbuilds", here.namespace, "hello")
        dreaming = await here.kube.patch(f"{path}/status", {"status": {"state": "dreaming"}})
        async with here.controller():
            selector = {"fieldSelector": f"involvedObject.uid={dreaming['metadata']['uid']},reason=StatusNotUnderstood"}

            async def told() -> bool:
                return len((await here.kube.get(paths.core("events", here.namespace), selector))["items"]) == 1

            await eventually(told, lambda: "no Event tells that the status can't be read")
            here.kubelet.behaviour = succeed
            await here.kubelet.look_again()
            await here.create_build("other")
            await here.until_state("succeeded", "other")
            assert (await here.build())["status"] == dreaming["status"]
            assert await told(), "once is enough"
            await here.delete("coprbuilds", "hello")
            await here.until_gone("coprbuilds", "hello")
            await here.delete("coprbuilds", "other")
            await here.until_gone("coprbuilds", "other")


def reasons(build: Obj) -> set[str]:
    return {condition["reason"] for condition in (build.get("status") or {}).get("conditions") or ()}
