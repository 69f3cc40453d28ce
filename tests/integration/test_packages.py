"""CoprPackages before a real API server: a source becomes a build once, kills included; old builds go."""

import asyncio
from typing import Any

import pytest

from copr_operator.core import names
from copr_operator.kube import paths
from tests.support.api_proxy import Write
from tests.support.world import WAIT, World, eventually, manifest

GEM = {"type": "rubygems", "rubygems": {"name": "hello"}}
OTHER = {"type": "rubygems", "rubygems": {"name": "hello-2"}}


async def apply(here: World, **spec: Any) -> None:
    """As a GitOps tool does: server-side apply, with the same content again and again."""
    body = {"owner": "alice", "project": "demo", "name": "hello", **spec}
    path = paths.copr("coprpackages", here.namespace, "hello")
    obj = manifest("CoprPackage", "hello", body)
    await here.kube.patch(
        path, obj, {"fieldManager": "gitops", "force": "true"}, content_type="application/apply-patch+yaml"
    )


async def builds(here: World) -> list[dict[str, Any]]:
    found = (await here.kube.get(paths.copr("coprbuilds", here.namespace)))["items"]
    return sorted(found, key=lambda build: build.get("status", {}).get("id") or 10**9)


async def until_status(here: World, **wanted: Any) -> dict[str, Any]:
    """The package's status once it has these members; conditions by type, as `status reason`."""
    last: dict[str, Any] = {}

    async def probe() -> bool:
        nonlocal last
        obj = await here.kube.get(paths.copr("coprpackages", here.namespace, "hello"))
        last = obj.get("status") or {}
        conditions = {c["type"]: f"{c['status']} {c['reason']}" for c in last.get("conditions", [])}
        current = last.get("observedGeneration") == obj["metadata"]["generation"]
        return current and wanted.items() <= {**last, **conditions}.items()

    await eventually(probe, lambda: f"the package stays at {last}")
    return last


async def test_builds_follow_the_source_of_a_package_and_nothing_else(here: World) -> None:
    await here.create_chroots()
    async with here.controller():
        # The package comes first, as it may in a repository of manifests: its build waits for the project.
        await apply(here, source=GEM, buildOnChange=True, chrootDenylist=["debian-12-*"], timeout=900)
        await until_status(here, Ready="False Building", Reconciling="True Building")
        await here.create_project()
        status = await until_status(here, Ready="True BuildSucceeded", sourcesBuilt=1)
        (build,) = await builds(here)
        assert status["lastBuild"] == {
            "name": build["metadata"]["name"], "id": build["status"]["id"], "state": "succeeded",
        }  # fmt: skip
        assert [chroot["name"] for chroot in build["status"]["chroots"]] == ["debian-13-x86_64"]
        assert (build["spec"]["timeout"], build["spec"]["packageName"]) == (900, "hello")
        # Not the source, the same source written otherwise, and once more the same.
        for _ in range(2):
            await apply(here, source=GEM, buildOnChange=True, autoRebuild=True)
        await until_status(here, sourcesBuilt=1)
        await apply(here, source=OTHER, buildOnChange=True)
        await until_status(here, Ready="True BuildSucceeded", sourcesBuilt=2)
        assert [build["spec"]["source"] for build in await builds(here)] == [GEM, OTHER]
        await here.delete("coprpackages", "hello")

        async def all_gone() -> bool:
            return not await builds(here)

        await eventually(all_gone, lambda: "builds outlive the package that they were made from")


@pytest.mark.parametrize("resource", ["coprbuilds", "coprpackages/status"])
async def test_killed_after_a_write_whose_answer_is_lost_no_source_is_built_twice(here: World, resource: str) -> None:
    await here.create_chroots()
    await here.create_project()
    killed = asyncio.Event()
    async with here.controller() as first:

        async def kill(write: Write) -> None:
            if write.resource == resource and (write.method == "POST" or resource != "coprbuilds"):
                first.proxy.dead = True
                killed.set()

        first.proxy.on_write = kill
        await apply(here, source=GEM, buildOnChange=True)
        async with asyncio.timeout(WAIT):
            await killed.wait()
    await here.free_lease()
    async with here.controller():
        await until_status(here, Ready="True BuildSucceeded", sourcesBuilt=1)
        assert len(await builds(here)) == 1


async def test_two_controllers_at_once_build_a_source_once(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    async with here.controller(), here.controller(split_brain=True):
        await apply(here, source=GEM, buildOnChange=True)
        await until_status(here, Ready="True BuildSucceeded", sourcesBuilt=1)
        assert len(await builds(here)) == 1


async def test_only_the_newest_builds_are_kept(here: World) -> None:
    await here.create_chroots()
    await here.create_project("debian-13-x86_64")
    async with here.controller():
        for number in range(4):
            # By whoever: with the package's name announced, and found out from the SRPM (it is hello's).
            announced = {"packageName": "hello"} if number % 2 else {}
            await here.create_build(f"b{number}", **announced)
            await here.until_state("succeeded", f"b{number}")
        await apply(here, source=GEM, maxBuilds=2)

        async def left(wanted: list[str]) -> bool:
            return [build["metadata"]["name"] for build in await builds(here)] == wanted

        await eventually(lambda: left(["b2", "b3"]), lambda: "older builds stay")
        await here.create_build("b4")
        await eventually(lambda: left(["b3", "b4"]), lambda: "the next build takes no place")
        removed = {entry for entry in here.backend.asked if entry.endswith("/remove")}
        assert len(removed) == 3, "results of what was deleted stay"


async def test_a_quota_holds_the_build_back_and_is_told(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    quota = {"hard": {"count/coprbuilds.copr-operator.dev": "0"}}
    obj = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": quota}
    await here.kube.create(paths.core("resourcequotas", here.namespace), obj)

    async def counted() -> bool:
        held = await here.kube.get(paths.core("resourcequotas", here.namespace, "none"))
        return bool(held.get("status", {}).get("hard"))

    await eventually(counted, lambda: "the quota is not counted")
    async with here.controller():
        await apply(here, source=GEM, buildOnChange=True)
        await until_status(here, Ready="False BuildRefused", Reconciling="True BuildRefused")
        await here.kube.delete(paths.core("resourcequotas", here.namespace, "none"))
        await until_status(here, Ready="True BuildSucceeded", sourcesBuilt=1)


async def test_a_controller_that_starts_anew_writes_nothing_when_all_is_told(here: World) -> None:
    await here.create_chroots()
    await here.create_project()
    async with here.controller():
        await apply(here, source=GEM, buildOnChange=True, maxBuilds=3)
        await until_status(here, Ready="True BuildSucceeded")
    async with here.controller(resync_seconds=1) as again:
        await asyncio.sleep(3)  # two resyncs
        writes = [write for write in again.proxy.writes if write.resource not in ("leases", "configmaps", "events")]
        assert writes == []
    assert (await builds(here))[0]["metadata"]["ownerReferences"][0]["kind"] == "CoprPackage"
    assert names.FINALIZER in (await builds(here))[0]["metadata"]["finalizers"]
