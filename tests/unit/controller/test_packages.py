"""CoprPackages before an API server that dies at any moment: each source is built once, whatever happens."""

import asyncio
from typing import Any

import pytest

from copr_operator.core.views import build_view
from copr_operator.kube.client import ApiError
from tests.unit.controller.package_world import GEM, KEY, OTHER, Controller, World, manifest


class Death(BaseException):
    """The process is gone: nothing in it runs on."""


@pytest.fixture
def world() -> World:
    return World()


async def test_a_source_is_built_and_told_of_in_two_writes_and_then_nothing_is_done(world: World) -> None:
    controller = Controller(world.kube)
    assert await controller.reconcile() is None
    assert [method for method, _ in world.kube.writes] == ["POST", "PATCH"]
    (build,) = world.builds
    assert world.status["lastBuild"] == {"name": build["metadata"]["name"]}
    assert (world.status["sourcesBuilt"], build["spec"]["source"]) == (1, GEM)
    for again in (controller, Controller(world.kube)):
        await again.reconcile()
    assert len(world.kube.writes) == 2


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("write", [1, 2, 3, 4])
async def test_killed_at_any_write_each_of_three_sources_is_built_once(world: World, moment: str, write: int) -> None:
    """A B A: the third is the first once more, and is a build of its own."""
    seen = 0

    async def die(method: str, path: str) -> None:
        nonlocal seen
        seen += method != "GET"
        if method != "GET" and seen == write:
            raise Death

    setattr(world.kube, moment, die)
    for source in (GEM, OTHER, GEM):
        world.apply(source=source, buildOnChange=True)
        for _ in range(3):
            try:
                await Controller(world.kube).reconcile()
            except Death:
                continue
    assert [build["spec"]["source"] for build in world.builds] == [GEM, OTHER, GEM]
    assert world.status["sourcesBuilt"] == 3
    assert len({build["metadata"]["name"] for build in world.builds}) == 3


async def test_two_controllers_at_once_make_one_build(world: World) -> None:
    both = [Controller(world.kube), Controller(world.kube)]
    results = await asyncio.gather(*(one.reconcile() for one in both), return_exceptions=True)
    for one, result in zip(both, results, strict=True):
        if isinstance(result, Exception):  # the loser of the status write looks again
            one.see(world.kube.objects["coprpackages", "ns", "rails"])
            await one.reconcile()
    assert (len(world.builds), world.status["sourcesBuilt"]) == (1, 1)


async def test_a_lost_answer_makes_no_second_build(world: World) -> None:
    async def lost(method: str, path: str) -> None:
        if method == "POST":
            raise ApiError(0, "NoAnswer", "the connection broke")

    world.kube.after = lost
    controller = Controller(world.kube)
    with pytest.raises(ApiError):
        await controller.reconcile()
    world.kube.after = None
    await controller.reconcile()
    assert (len(world.builds), world.status["sourcesBuilt"]) == (1, 1)


async def test_a_quota_is_told_and_the_build_comes_when_it_allows(world: World) -> None:
    async def full(method: str, path: str) -> None:
        if method == "POST":
            raise ApiError(403, "Forbidden", "exceeded quota")

    world.kube.before = full
    controller = Controller(world.kube)
    assert (await controller.reconcile() or 0) > 1
    told = {c["type"]: (c["status"], c["reason"], c["message"]) for c in world.status["conditions"]}
    assert told["Ready"] == ("False", "BuildRefused", "exceeded quota")
    assert world.builds == []
    world.kube.before = None
    await Controller(world.kube).reconcile()
    assert len(world.builds) == 1


async def test_the_end_of_a_build_is_told_also_when_no_controller_saw_it(world: World) -> None:
    first = Controller(world.kube)
    await first.reconcile()
    ended = world.finish(world.builds[0], 7, "succeeded")
    await Controller(world.kube).reconcile()
    assert world.status["lastBuild"] == {"name": ended["metadata"]["name"], "id": 7, "state": "succeeded"}
    assert {c["type"]: c["status"] for c in world.status["conditions"]} == {"Ready": "True"}


async def test_builds_that_others_make_of_the_package_are_told_of_too(world: World) -> None:
    world.apply(buildOnChange=False, source=GEM)
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    hook = world.kube.put(("coprbuilds", "ns", "hook"), {**manifest("CoprBuild", "hook", spec), "status": {}})
    controller = Controller(world.kube)
    controller.woken.clear()
    controller.see(world.finish(hook, 3, "running"))
    assert KEY in controller.woken
    await controller.reconcile()
    assert world.status["lastBuild"] == {"name": "hook", "id": 3}
    ended = build_view(world.finish(hook, 3, "failed"))
    controller.woken.clear()
    controller.packages.ended(ended)
    controller.store.assume_build(ended)
    assert KEY in controller.woken
    await controller.reconcile()
    assert world.status["lastBuild"] == {"name": "hook", "id": 3, "state": "failed"}


async def test_a_build_is_of_the_package_that_it_was_made_from_whatever_its_srpm_is_called(world: World) -> None:
    controller = Controller(world.kube)
    await controller.reconcile()
    named = {**world.builds[0], "status": {"id": 7, "state": "running", "source": {"state": "succeeded", "package": {
        "name": "rubygem-rails", "version": "8.0-1"}}}}  # fmt: skip
    controller.see(world.kube.put(("coprbuilds", "ns", named["metadata"]["name"]), named))
    await controller.reconcile()
    assert world.status["lastBuild"] == {"name": named["metadata"]["name"], "id": 7}
    controller.woken.clear()
    ended = {**named, "status": {**named["status"], "state": "succeeded"}}
    controller.packages.ended(build_view(world.kube.put(("coprbuilds", "ns", named["metadata"]["name"]), ended)))
    assert KEY in controller.woken
    await controller.reconcile()
    assert world.status["lastBuild"]["state"] == "succeeded"


async def test_a_last_build_that_is_gone_before_its_end_gives_way_to_the_one_before(world: World) -> None:
    """So does one that has turned out to be of another package."""
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    for end in ("deleted", "of another"):
        world.apply(buildOnChange=False)
        for number, state in ((1, "succeeded"), (2, "running")):
            build = world.kube.put(("coprbuilds", "ns", f"b{number}"), manifest("CoprBuild", f"b{number}", spec))
            world.finish(build, number, state)
        await Controller(world.kube).reconcile()
        assert world.status["lastBuild"] == {"name": "b2", "id": 2}
        if end == "deleted":
            del world.kube.objects["coprbuilds", "ns", "b2"]
        else:
            world.kube.objects["coprbuilds", "ns", "b2"]["status"]["source"] = {
                "state": "succeeded", "package": {"name": "rack", "version": "3-1"},
            }  # fmt: skip
        await Controller(world.kube).reconcile()
        assert world.status["lastBuild"] == {"name": "b1", "id": 1, "state": "succeeded"}, end


async def test_a_package_that_is_defined_late_knows_of_its_builds(world: World) -> None:
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    world.finish(world.kube.put(("coprbuilds", "ns", "b1"), manifest("CoprBuild", "b1", spec)), 1, "failed")
    world.apply(buildOnChange=False)
    await Controller(world.kube).reconcile()
    assert world.status["lastBuild"] == {"name": "b1", "id": 1, "state": "failed"}


async def test_no_build_is_made_by_an_old_version_of_the_package(world: World) -> None:
    """Its build was made and latched, and somebody has deleted it; the watch does not tell so yet."""
    late = Controller(world.kube)
    await Controller(world.kube).reconcile()
    del world.kube.objects["coprbuilds", "ns", world.builds[0]["metadata"]["name"]]
    await late.reconcile()
    assert (world.builds, world.status["sourcesBuilt"]) == ([], 1)


async def test_a_build_that_ends_while_the_others_are_listed_is_counted_too(world: World) -> None:
    world.apply(buildOnChange=False, maxBuilds=1)
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    world.finish(world.kube.put(("coprbuilds", "ns", "b1"), manifest("CoprBuild", "b1", spec)), 1, "failed")
    controller = Controller(world.kube)
    list_pages, build = world.kube.list_pages, manifest("CoprBuild", "b2", spec)

    async def slow(*args: Any, **options: Any) -> Any:
        async for page in list_pages(*args, **options):
            yield page
        controller.packages.ended(build_view({**build, "status": {"id": 2, "state": "failed"}}))

    world.kube.list_pages = slow  # type: ignore[method-assign]
    await controller.reconcile()
    world.kube.list_pages = list_pages  # type: ignore[method-assign]
    world.finish(world.kube.put(("coprbuilds", "ns", "b2"), build), 2, "failed")
    await controller.reconcile()
    assert [build["metadata"]["name"] for build in world.builds] == ["b2"]


async def test_a_projects_change_may_make_builds_too_many(world: World) -> None:
    project = world.kube.objects["coprprojects", "ns", "demo"]
    keeping = {**project, "spec": {**project["spec"], "api": {"persistent": True}}}
    world.kube.put(("coprprojects", "ns", "demo"), keeping)
    world.apply(buildOnChange=False, maxBuilds=1)
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    for number in (1, 2):
        build = world.kube.put(("coprbuilds", "ns", f"b{number}"), manifest("CoprBuild", f"b{number}", spec))
        world.finish(build, number, "failed")
    controller = Controller(world.kube)
    await controller.reconcile()
    assert len(world.builds) == 2
    controller.woken.clear()
    controller.see(world.kube.put(("coprprojects", "ns", "demo"), project))
    assert KEY in controller.woken
    await controller.reconcile()
    assert [build["metadata"]["name"] for build in world.builds] == ["b2"]


async def test_builds_too_many_are_deleted_when_one_ends_and_not_looked_for_otherwise(world: World) -> None:
    world.apply(buildOnChange=False, source=GEM, maxBuilds=1)
    spec = {"owner": "alice", "project": "demo", "packageName": "rails", "source": GEM}
    for number in (1, 2):
        build = world.kube.put(("coprbuilds", "ns", f"b{number}"), manifest("CoprBuild", f"b{number}", spec))
        world.finish(build, number, "failed")
    lists = 0

    async def count(method: str, path: str) -> None:
        nonlocal lists
        lists += method == "GET" and path.endswith("/coprbuilds")

    world.kube.before = count
    controller = Controller(world.kube)
    await controller.reconcile()
    assert [build["metadata"]["name"] for build in world.builds] == ["b2"]
    asked = lists
    await controller.reconcile()
    assert lists == asked
    running = world.kube.put(("coprbuilds", "ns", "b3"), manifest("CoprBuild", "b3", spec))
    controller.see(world.finish(running, 3, "running"))
    await controller.reconcile()
    assert ([build["metadata"]["name"] for build in world.builds], lists) == (["b2", "b3"], asked)
    ended = build_view(world.finish(running, 3, "failed"))
    controller.packages.ended(ended)
    controller.store.assume_build(ended)
    await controller.reconcile()
    assert [build["metadata"]["name"] for build in world.builds] == ["b3"]


async def test_a_package_that_is_gone_or_going_is_left_alone(world: World) -> None:
    controller = Controller(world.kube)
    obj = world.kube.objects["coprpackages", "ns", "rails"]
    going = {
        **obj,
        "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T12:00:00Z", "resourceVersion": "9"},
    }
    controller.see(going)
    assert await controller.reconcile() is None
    controller.feeder.package("DELETED", going)
    assert await controller.reconcile() is None
    assert world.kube.writes == []
