"""The end of a build, and the CoprPackages that must hear of it."""

import asyncio

import pytest

from copr_operator.core.views import build_view
from copr_operator.kube.client import ApiError
from tests.unit.controller.package_world import BUILD_OF_RAILS, GEM, Controller, World, manifest


@pytest.fixture
def world() -> World:
    return World()


async def test_a_build_that_is_about_to_end_is_named_and_found_again_by_the_next_controller(world: World) -> None:
    world.apply(buildOnChange=False)
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    build = world.kube.put(("coprbuilds", "ns", "b1"), manifest("CoprBuild", "b1", spec))
    controller = Controller(world.kube)
    world.apply(buildOnChange=False, timeout=5)  # the version that it knows is not the newest any more
    await controller.packages.announce(build_view(build))
    assert world.status["lastBuild"] == {"name": "b1"}
    written = len(world.kube.writes)
    await controller.packages.announce(build_view(build))
    assert len(world.kube.writes) == written
    world.finish(build, 1, "failed")
    await Controller(world.kube).reconcile()
    assert world.status["lastBuild"] == {"name": "b1", "id": 1, "state": "failed"}


@pytest.mark.looptime
@pytest.mark.parametrize(("status", "refusals"), [(503, 4), (403, 1)])
async def test_the_end_of_a_build_waits_a_minute_at_most_for_its_package_to_be_told(
    world: World, status: int, refusals: int
) -> None:
    """And not at all for what no waiting mends."""
    build = build_view(world.kube.put(("coprbuilds", "ns", "b1"), manifest("CoprBuild", "b1", BUILD_OF_RAILS)))
    refused = 0

    async def refuse(method: str, path: str) -> None:
        nonlocal refused
        if method == "PATCH":
            refused += 1
            raise ApiError(status, "", "no")

    controller = Controller(world.kube)
    world.kube.before = refuse
    for _ in range(refusals - 1):
        with pytest.raises(ApiError):
            await controller.packages.announce(build)
        await asyncio.sleep(20)  # of looptime: none really passes
    await controller.packages.announce(build)
    assert refused == refusals


async def test_an_end_that_the_package_tells_of_is_no_news_when_the_build_is_looked_at_again(world: World) -> None:
    world.apply(buildOnChange=False, maxBuilds=1)
    ended = build_view(
        world.finish(
            world.kube.put(("coprbuilds", "ns", "b1"), manifest("CoprBuild", "b1", BUILD_OF_RAILS)), 1, "failed"
        )
    )
    controller = Controller(world.kube)
    controller.packages.look_back(ended)
    await controller.reconcile()
    assert world.status["lastBuild"] == {"name": "b1", "id": 1, "state": "failed"}
    controller.woken.clear()
    controller.packages.look_back(ended)
    assert controller.woken == []


async def test_nothing_is_kept_of_a_package_that_is_gone(world: World) -> None:
    controller = Controller(world.kube)
    await controller.reconcile()
    controller.packages.ended(build_view(world.finish(world.builds[0], 1, "failed")))
    await controller.reconcile()
    held = controller.store.packages.get("ns", "rails")
    assert held is not None
    controller.store.package_event("DELETED", held)
    await controller.reconcile()
    kept = vars(controller.packages)
    assert [kept[name] for name in ("_ended", "_counted", "_ends", "_uids", "_announcing")] == [{}] * 5


@pytest.mark.parametrize("change", [{"namespace": "elsewhere"}, {"project": "other"}, {"owner": "mallory"}])
async def test_a_build_of_another_project_that_claims_to_be_made_from_the_package_is_none_of_it(
    world: World, change: dict[str, str]
) -> None:
    """Anyone may write an ownerReference with a uid that they have heard of."""
    controller = Controller(world.kube)
    spec = {**BUILD_OF_RAILS, "packageName": "evil", **{k: v for k, v in change.items() if k != "namespace"}}
    obj = manifest("CoprBuild", "evil", spec)
    obj["metadata"]["namespace"] = change.get("namespace", "ns")
    obj["metadata"]["ownerReferences"] = [
        {"kind": "CoprPackage", "name": "rails", "uid": "uid-rails", "controller": True}
    ]
    controller.see(obj)
    package = controller.store.packages.get("ns", "rails")
    assert package is not None
    assert controller.store.packages_of(build_view(obj)) == []
    assert controller.store.builds_of_package(package) == []
