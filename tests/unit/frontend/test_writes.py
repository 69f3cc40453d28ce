"""Writes and reads before an API server that refuses, is slow or away: all or nothing, and never a half truth."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from copr_operator.core.observed import ProjectView
from copr_operator.core.views import project_view
from copr_operator.frontend.build_forms import BuildOptions
from copr_operator.frontend.builds import Builds
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.errors import CoprError
from copr_operator.frontend.reader import Reader
from copr_operator.frontend.tokens import Account
from copr_operator.frontend.viewer import viewer_of
from copr_operator.kube.client import ApiError
from tests.unit.frontend.test_cache import project, version
from tests.unit.frontend.test_present import D12, D13, RESULTS, SUCCEEDED, build

ALICE = Account("alice")
OPTIONS = BuildOptions({"owner": "alice", "project": "demo"})
SOURCES = [{"type": "link", "link": {"url": f"https://x.example/{n}.spec"}} for n in range(4)]


class FakeKube:
    """Objects by path. `gives_ids`: as if the controller were there; `refuses`: the create with this number fails."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.objects: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        self.lists = 0
        self.gives_ids = True
        self.tells = True
        self.refuses: dict[int, ApiError] = {}
        self.loses: set[int] = set()
        """Creates that are carried out, and never answered."""
        self.deletes: list[Mapping[str, Any]] = []
        """Bodies of the requests."""
        self._numbers = itertools.count(1)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        if number in self.refuses:
            raise self.refuses[number]
        name = f"{path}/{body['metadata']['name']}"
        if name in self.objects:
            raise ApiError(409, "AlreadyExists", name)
        obj = build(number) if self.gives_ids else {**build(number), "status": {}}
        obj["metadata"] = {**obj["metadata"], **body["metadata"], "uid": f"uid-{number}"}
        obj["spec"] = body["spec"]
        self.objects[name] = obj
        if number in self.loses:
            raise ApiError(0, "NoAnswer", "the connection broke")
        if self.tells:
            self.cache.build_event("ADDED", obj)
        return obj

    async def find(self, path: str) -> dict[str, Any] | None:
        return self.objects.get(path)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.lists += 1
        wanted = (params or {}).get("fieldSelector", "").removeprefix("status.id=")
        return {"items": [obj for obj in self.objects.values() if str(obj["status"].get("id")) == wanted]}

    async def delete(self, path: str, body: Mapping[str, Any]) -> bool:
        self.deletes.append(body)
        held = self.objects[path]["metadata"]
        if any(held[name] != value for name, value in body["preconditions"].items()):
            raise ApiError(409, "Conflict", "the precondition does not hold")
        self.deleted.append(self.objects.pop(path)["metadata"]["uid"])
        return True


class World:
    def __init__(self, id_timeout: float = 5) -> None:
        self.cache = Cache(RESULTS)
        self.kube = FakeKube(self.cache)
        self.now = 0.0
        self.reader = Reader(self.kube, self.cache, (), clock=lambda: self.now)  # type: ignore[arg-type]
        self.builds = Builds(
            self.kube, self.cache, self.reader, id_timeout=id_timeout, cancel_timeout=0  # type: ignore[arg-type]
        )  # fmt: skip
        self.cache.project_event("ADDED", project("demo", "p", held=True))

    @property
    def project(self) -> ProjectView:
        return project_view(project("demo", "p", held=True))


async def test_builds_of_one_request_are_all_there_or_none() -> None:
    world = World()
    world.kube.refuses[3] = ApiError(403, "Forbidden", "exceeded quota")
    with pytest.raises(CoprError, match="The cluster does not allow it: exceeded quota") as caught:
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES)
    assert caught.value.status == 403
    assert world.kube.deleted == ["uid-1", "uid-2"]
    assert world.kube.objects == {}


async def test_a_build_without_an_id_in_time_is_taken_back() -> None:
    world = World(id_timeout=0.01)
    world.kube.gives_ids = False
    with pytest.raises(CoprError, match="got no id in time") as caught:
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:2])
    assert (caught.value.status, "Retry-After" in caught.value.headers) == (503, True)
    assert sorted(world.kube.deleted) == ["uid-1", "uid-2"]


async def test_a_create_whose_answer_is_lost_leaves_no_build_that_nobody_knows_of() -> None:
    world = World()
    world.kube.loses = {2}
    with pytest.raises(CoprError) as caught:
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:2])
    assert (caught.value.status, world.kube.objects) == (503, {})


async def test_with_a_key_the_same_request_finds_the_build_whose_answer_was_lost() -> None:
    world = World(id_timeout=0.01)
    world.kube.loses = {1}
    with pytest.raises(CoprError):
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1], "key")
    (record,) = await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1], "key")
    assert (record.id, len(world.kube.objects), world.kube.deleted) == (1, 1, [])


async def test_a_build_that_another_request_answered_with_is_not_taken_back() -> None:
    """Both waited for the id of one build; it comes when the first has given up."""
    world = World(id_timeout=0.05)
    world.kube.gives_ids = False
    first = asyncio.create_task(world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1], "key"))
    await asyncio.sleep(0.02)
    ((path, obj),) = world.kube.objects.items()
    find = world.kube.find

    async def then_gets_its_id(path: str) -> dict[str, Any] | None:
        held = await find(path)
        meta = {**obj["metadata"], "resourceVersion": "99"}
        world.kube.objects[path] = {**obj, "metadata": meta, "status": {"id": 5, "state": "pending"}}
        return held

    world.kube.find = then_gets_its_id  # type: ignore[method-assign]
    with pytest.raises(CoprError, match="got no id in time"):
        await first
    assert path in world.kube.objects
    (record,) = await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1], "key")
    assert record.id == 5


async def test_a_watch_that_is_late_does_not_cost_the_build() -> None:
    world = World(id_timeout=0.01)
    world.kube.tells = False
    (record,) = await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1])
    assert record.id == 1
    assert world.kube.deleted == []


async def test_an_api_server_that_is_away_is_told_apart_from_a_refusal() -> None:
    world = World()
    world.kube.refuses[1] = ApiError(0, "NoAnswer", "connection refused")
    with pytest.raises(CoprError) as caught:
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:1])
    assert (caught.value.status, "connection refused" in caught.value.message) == (503, False)


async def test_the_same_key_brings_the_same_builds_for_the_same_person_only() -> None:
    world = World()
    first = await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:2], "key")
    again = await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[:2], "key")
    assert [record.id for record in first] == [record.id for record in again]
    other = await world.builds.create(Account("bob", admin=True), world.project, OPTIONS, SOURCES[:2], "key")
    assert {record.id for record in other}.isdisjoint(record.id for record in first)
    with pytest.raises(CoprError, match="was used for another build"):
        await world.builds.create(ALICE, world.project, OPTIONS, SOURCES[2:], "key")
    assert world.kube.deleted == []


ROOT, BOB = Account("root", admin=True), Account("bob")


def linked(world: World, *links: dict[str, Any], project: str = "demo") -> None:
    """Builds 101, 102, ... that run, each with its links."""
    for number, link in enumerate(links, 101):
        world.cache.build_event("ADDED", build(number, project=project, **link))


@pytest.mark.parametrize(
    ("link", "option", "text"),
    [
        ({}, {"with_build_id": 101}, "Build 101 is not yet in any batch, and user 'bob' doesn't have the build perm"),
        ({}, {"after_build_id": 101}, "Build 101 is not yet in any batch, and user 'bob' doesn't have the build perm"),
        ({"withBuild": "b7"}, {"with_build_id": 101}, "The batch of build 101 belongs to project alice/demo.  You are"),
        ({"afterBuild": "b7"}, {"with_build_id": 101}, "The batch of build 101 belongs to project alice/demo.  You"),
        ({"withBuild": "b7"}, {"after_build_id": 101}, None),
        ({"afterBuild": "b7"}, {"after_build_id": 101}, None),
    ],
    ids=["join a new one", "wait for a new one", "join", "join one that waits", "wait", "wait for one that waits"],
)
async def test_a_batch_is_made_and_joined_by_those_only_who_may_build_there(
    link: dict[str, str], option: dict[str, int], text: str | None
) -> None:
    world = World()
    linked(world, link)
    world.cache.project_event("ADDED", bobs := owned_by("bob"))
    options = BuildOptions({"owner": "bob", "project": "theirs"}, **option)  # type: ignore[arg-type]
    if text is None:
        (record,) = await world.builds.create(BOB, project_view(bobs), options, SOURCES[:1])
        assert record.view.spec.after_build == "b101"
    else:
        with pytest.raises(CoprError, match=text) as caught:
            await world.builds.create(BOB, project_view(bobs), options, SOURCES[:1])
        (field,) = option
        assert (caught.value.status, f"'{field}'" in caught.value.message, world.kube.objects) == (400, True, {})


def owned_by(owner: str) -> dict[str, Any]:
    obj = project("theirs", f"of-{owner}", held=True)
    return {**obj, "spec": {**obj["spec"], "owner": owner}}


@pytest.mark.parametrize(("account", "status"), [(ROOT, None), (ALICE, 400)])
async def test_the_batch_of_a_build_without_a_project_is_the_administrators(
    account: Account, status: int | None
) -> None:
    world = World()
    linked(world, {}, project="gone")
    options = BuildOptions({"owner": "alice", "project": "demo"}, with_build_id=101)
    if status is None:
        (record,) = await world.builds.create(account, world.project, options, SOURCES[:1])
        assert record.view.spec.with_build == "b101"
    else:
        with pytest.raises(CoprError) as caught:
            await world.builds.create(account, world.project, options, SOURCES[:1])
        assert caught.value.status == status


async def test_a_chain_of_builds_that_join_each_other_is_one_batch_with_one_leader() -> None:
    world = World()
    linked(world, {}, {"withBuild": "b101"})
    for target in (101, 102):
        options = BuildOptions({"owner": "alice", "project": "demo"}, with_build_id=target)
        (record,) = await world.builds.create(ALICE, world.project, options, SOURCES[:1])
        assert record.view.spec.with_build == "b101", target


async def test_a_batch_is_joined_by_the_name_that_the_controller_has_found_for_it() -> None:
    world = World()
    linked(world, {"withBuild": "gone", "status": {"batch": {"leader": "b7"}}})
    options = BuildOptions({"owner": "alice", "project": "demo"}, with_build_id=101)
    (record,) = await world.builds.create(ALICE, world.project, options, SOURCES[:1])
    assert record.view.spec.with_build == "b7"


@pytest.mark.parametrize("others", ["running", "succeeded"])
async def test_a_batch_is_joined_as_long_as_one_of_its_builds_has_not_ended(others: str) -> None:
    world = World()
    linked(world, {}, {"withBuild": "b101"})
    world.cache.build_event("MODIFIED", version(build(101, status={"state": "failed"}), 9))
    world.cache.build_event("MODIFIED", version(build(102, status={"state": others}, withBuild="b101"), 9))
    options = BuildOptions({"owner": "alice", "project": "demo"}, with_build_id=101)
    if others == "running":
        (record,) = await world.builds.create(ALICE, world.project, options, SOURCES[:1])
        assert record.view.spec.with_build == "b101"
    else:
        with pytest.raises(CoprError, match="Build 101 is already finished"):
            await world.builds.create(ALICE, world.project, options, SOURCES[:1])


async def settle() -> None:
    """Everything that can go on has."""
    for _ in range(20):
        await asyncio.sleep(0)


def fork_of_demo() -> ProjectView:
    obj = project("mine", "q", held=True)
    return project_view({**obj, "spec": {**obj["spec"], "chroots": [{"name": D12}, {"name": D13}]}})


def taken_over(world: World) -> list[int]:
    """Ids of the builds whose results were taken over, in the order of the creates."""
    return [obj["spec"]["forkedFrom"]["id"] for obj in world.kube.objects.values()]


@pytest.fixture
def forking() -> World:
    """`demo` has three builds that its fork wants, two of them of one package. Ids come when the test says so."""
    world = World()
    world.kube.tells = False
    for number, package, chroots in ((101, "hello", (D12, D13)), (102, "hello", (D13,)), (103, "other", (D13,))):
        world.cache.build_event("ADDED", succeeded(number, package, chroots))
    return world


def succeeded(number: int, package: str, chroots: Sequence[str]) -> dict[str, Any]:
    source = {**SUCCEEDED["source"], "package": {"name": package, "version": "1-1"}}
    states = [{"name": chroot, "state": "succeeded", "packages": 1} for chroot in chroots]
    return build(number, {**SUCCEEDED, "source": source, "chroots": states})


async def test_a_fork_s_latest_build_of_a_package_is_the_origin_s(forking: World) -> None:
    target = fork_of_demo()
    fork = asyncio.create_task(forking.builds.fork(ALICE, forking.project, target))
    await settle()
    assert taken_over(forking) == [101, 103], "the second of a package is made when the first has its id"
    for obj in list(forking.kube.objects.values()):
        forking.cache.build_event("ADDED", obj)
    await settle()
    assert taken_over(forking) == [101, 103, 102]
    *_, newest = forking.kube.objects.values()
    forking.cache.build_event("ADDED", newest)
    await fork
    assert [obj["status"]["id"] for obj in forking.kube.objects.values()] == [1, 2, 3]


async def test_a_fork_that_was_cut_short_is_taken_up_in_the_same_order(forking: World) -> None:
    target = fork_of_demo()
    first = asyncio.create_task(forking.builds.fork(ALICE, forking.project, target))
    await settle()
    first.cancel()
    again = asyncio.create_task(forking.builds.fork(ALICE, forking.project, target))
    await settle()
    assert taken_over(forking) == [101, 103], "what is there is not made again, and its id is still waited for"
    forking.kube.tells = True
    for obj in list(forking.kube.objects.values()):
        forking.cache.build_event("ADDED", obj)
    await again
    assert taken_over(forking) == [101, 103, 102]


async def test_a_fork_is_whole_also_when_the_controller_gives_no_ids() -> None:
    world = World(id_timeout=0.01)
    world.kube.gives_ids = False
    for number, chroots in ((101, (D12, D13)), (102, (D13,))):
        world.cache.build_event("ADDED", succeeded(number, "hello", chroots))
    await world.builds.fork(ALICE, world.project, fork_of_demo())
    assert taken_over(world) == [101, 102]


async def test_a_build_that_another_replica_made_is_found_and_then_known() -> None:
    world = World()
    world.kube.objects["x"] = build(7)
    assert (await world.reader.build(7, viewer_of(ALICE))).id == 7
    assert (await world.reader.build(7, viewer_of(ALICE))).id == 7
    assert world.kube.lists == 1


async def test_what_is_absent_is_asked_for_again_only_so_often() -> None:
    world = World()
    for _ in range(10):
        with pytest.raises(CoprError, match=r"Build 8 does not exist\."):
            await world.reader.build(8, viewer_of(ALICE))
    assert world.kube.lists == 3
    world.kube.objects["x"] = build(8)
    with pytest.raises(CoprError):
        await world.reader.build(8, viewer_of(ALICE))
    world.now += 2
    assert (await world.reader.build(8, viewer_of(ALICE))).id == 8


async def test_a_build_that_is_being_deleted_is_not_found() -> None:
    world = World()
    world.kube.objects["x"] = version(build(9), 1, deletionTimestamp="2026-01-01T12:00:00Z")
    with pytest.raises(CoprError, match="does not exist"):
        await world.reader.build(9, viewer_of(ALICE))


@pytest.mark.parametrize("name", ["a,spec.owner!=b", "a=b", "", "a b", "../x", "x" * 101])
async def test_nothing_but_a_name_gets_into_a_field_selector(name: str) -> None:
    world = World()
    assert await world.reader.find_project(name, "demo") is None
    assert await world.reader.find_project("bob", name) is None
    assert world.kube.lists == 0


def test_a_frontend_for_some_namespaces_sees_no_others() -> None:
    cache = Cache(RESULTS)
    reader = Reader(FakeKube(cache), cache, ("one", "two"))  # type: ignore[arg-type]
    assert [reader.sees(name) for name in ("one", "three")] == [True, False]
    assert Reader(FakeKube(cache), cache, ()).sees("three")  # type: ignore[arg-type]
