"""What stays listed has succeeded, whenever a build is cancelled, a backend dies or an answer is lost."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from copr_operator.backend.inspector import RpmFile
from copr_operator.backend.layout import Repo
from copr_operator.backend.repository import Step
from copr_operator.backend.store import DirectoryStore
from tests.support.waiting import until
from tests.unit.backend.world import CHROOT, FakeKube, LocalInspector, World, build_path, listed, results

REPO = Repo("alice", "demo", CHROOT)
PACKAGES = {f"00000042-hello/{name}" for name in results()}
MANY = 1000
"""More moments than any step has."""


class Moments:
    """Calls `act` at the given moment: at any request to the API server or its answer, before or after reading an RPM,
    between any two steps of a write or of a publication."""

    def __init__(self) -> None:
        self.count = 0
        self.at = MANY
        self.act: Callable[[], None] = lambda: None
        self.begun = False

    def comes(self, *_what: object) -> None:
        if self.begun:
            self.count += 1
            if self.count == self.at or self.at == 0:
                self.act()


class WatchedSteps(list[Step]):
    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    def append(self, step: Step) -> None:
        super().append(step)
        self._moments.comes()


class WatchedKube(FakeKube):
    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self._moments = moments

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._moments.comes()
        answer = await super().get(path, params)
        self._moments.comes()
        return answer


class WatchedInspector(LocalInspector):
    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self._moments = moments

    async def inspect(self, path: Path, href: str) -> RpmFile:
        self._moments.comes()
        rpm = await super().inspect(path, href)
        self._moments.comes()
        return rpm


class WatchedWorld(World):
    """A pod of attempt 1 of build 42 that has sent everything; `moments` begin with its `finish`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.moments = Moments()
        projects = self.kube.objects
        self.kube = WatchedKube(self.moments)
        self.kube.objects |= projects
        self.inspector = WatchedInspector(self.moments)
        self.steps = WatchedSteps(self.moments)

    async def ready(self) -> "WatchedWorld":
        await self.start(DirectoryStore(self.root, checkpoint=self.moments.comes))
        self.built = self.add_build(42)
        self.token = self.add_pod(42, CHROOT)
        for name, data in results().items():
            await self.put(self.token, name, data)
        await self.append(self.token, b"log\n", 0)
        return self

    async def end(self) -> str:
        """How `finish` is answered."""
        self.moments.begun = True
        answer = await self.finish(self.token, results())
        self.moments.begun = False
        assert answer.status_code == 200, answer.text
        return str(answer.json()["outcome"])


def latch(build: dict[str, Any], state: str) -> None:
    """What the controller writes when a build has ended."""
    build["spec"]["cancel"] = state == "canceled"
    build["status"]["state"] = state
    build["status"]["chroots"][0]["state"] = state


def unsettled(world: World) -> list[str]:
    return [path.name for path in (world.root / "state" / "unsettled").glob("*")]


def looks(world: World) -> int:
    """How often the CoprBuild was read."""
    return world.kube.requests.count(build_path(42))


def queued(world: World) -> bool:
    """A publication waits for its turn or for others of its repository."""
    return "copr_backend_publications_queued 1.0" in world.services.metrics.text().decode()


@pytest_asyncio.fixture
async def watched(tmp_path: Path) -> AsyncIterator[WatchedWorld]:
    world = await WatchedWorld(tmp_path / "store").ready()
    yield world
    await world.close()


async def test_a_build_that_is_cancelled_at_any_moment_of_its_publication_is_not_listed(tmp_path: Path) -> None:
    answers = []
    for moment in range(1, MANY):
        world = await WatchedWorld(tmp_path / str(moment)).ready()
        built, world.moments.at = world.built, moment
        world.moments.act = lambda built=built: latch(built, "canceled")  # type: ignore[misc]
        answers.append(await world.end())
        if world.moments.count < moment:
            latch(built, "canceled")
        if answers[-1] == "failed":
            assert world.runs == 0, "it was cancelled before it was published"
        await world.services.sweep()
        assert (listed(world.repo) if world.runs else {}) == {}
        assert not (world.repo / "00000042-hello" / "success").exists()
        assert unsettled(world) == []
        await world.close()
        if world.moments.count < moment:
            break
    assert answers == sorted(answers), "refused up to the last look, from then on settled"
    assert answers.count("failed") >= 5  # both RPMs are read between the first moment and the last look
    assert answers.count("succeeded") >= 28


async def test_a_cancellation_while_others_of_the_repository_are_waited_for_is_settled(watched: WatchedWorld) -> None:
    with watched.services.publisher.arriving(REPO):
        end = asyncio.create_task(watched.end())
        await until(lambda: queued(watched))
        latch(watched.built, "canceled")
    assert await end == "succeeded"
    await watched.services.sweep()
    assert listed(watched.repo) == {}


async def test_what_is_settled_as_succeeded_stays_listed_and_costs_one_look_more(watched: WatchedWorld) -> None:
    before = looks(watched)
    assert await watched.end() == "succeeded"
    assert looks(watched) - before == 1, "the last look before the publication"
    latch(watched.built, "succeeded")
    await watched.services.sweep()
    assert looks(watched) - before == 2
    assert (set(listed(watched.repo)), unsettled(watched)) == (PACKAGES, [])
    runs = watched.runs
    await watched.services.sweep()
    assert (looks(watched) - before, watched.runs) == (2, runs), "it is not looked at again"


async def test_a_chroot_that_has_succeeded_stays_listed_when_its_build_is_cancelled(watched: WatchedWorld) -> None:
    await watched.end()
    latch(watched.built, "canceled")
    watched.built["status"]["chroots"][0]["state"] = "succeeded"
    await watched.services.sweep()
    assert (set(listed(watched.repo)), unsettled(watched)) == (PACKAGES, [])


async def test_before_the_verdict_nothing_is_unlisted_not_even_after_a_cancellation(watched: WatchedWorld) -> None:
    """The controller may have seen the pod succeed before it sees the cancellation."""
    await watched.end()
    watched.built["spec"]["cancel"] = True
    await watched.services.sweep()
    assert (set(listed(watched.repo)), len(unsettled(watched))) == (PACKAGES, 1)
    latch(watched.built, "succeeded")
    await watched.services.sweep()
    assert (set(listed(watched.repo)), unsettled(watched)) == (PACKAGES, [])


@pytest.mark.parametrize("told", ["failed", "nothing"])
async def test_an_attempt_nobody_heard_of_is_unlisted_when_the_last_one_fails(watched: WatchedWorld, told: str) -> None:
    """Also when the last one never got as far as to tell the backend of it."""
    await watched.end()
    watched.built["status"]["chroots"][0] |= {"attempt": 2, "state": "pending"}
    await watched.services.sweep()
    assert set(listed(watched.repo)) == PACKAGES
    if told == "failed":
        await watched.finish(watched.add_pod(42, CHROOT, attempt=2), outcome="failed")
    latch(watched.built, "failed")
    await watched.services.sweep()
    assert (listed(watched.repo), unsettled(watched)) == ({}, [])


async def test_a_backend_killed_at_any_moment_settles_after_its_restart(tmp_path: Path) -> None:
    world = await WatchedWorld(tmp_path / "store").ready()
    copies: list[Path] = []

    def keep() -> None:
        """What a backend that is killed now would leave behind."""
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(world.root, copies[-1], symlinks=True)

    world.moments.at, world.moments.act = 0, keep
    assert await world.end() == "succeeded"
    keep()
    await world.close()
    published = 0
    for copy in copies:
        for state, expected in (("failed", set()), ("succeeded", PACKAGES)):
            root = copy.with_name(f"{copy.name}-{state}")
            shutil.copytree(copy, root, symlinks=True)
            other = await World(root).start()
            built = other.add_build(42)
            there = (other.repo / "repodata/repomd.xml").exists()
            if state == "succeeded":
                built["status"]["chroots"][0]["attempt"] = 2
                assert (await other.send(other.add_pod(42, CHROOT, 2), results())).json()["outcome"] == "succeeded"
            latch(built, state)
            await other.services.sweep()
            assert (set(listed(other.repo)) if there or expected else set()) == expected
            assert unsettled(other) == []
            published += there
            await other.close()
    assert published, "some of them were killed after the publication"


async def test_a_step_that_is_publishing_is_waited_for(watched: WatchedWorld) -> None:
    await watched.end()
    watched.built["status"]["chroots"][0] |= {"attempt": 2, "state": "running"}
    second = watched.add_pod(42, CHROOT, attempt=2)
    for name, data in results(build_time=1_600_000_000).items():
        await watched.put(second, name, data)
    with watched.services.publisher.arriving(REPO):
        files = results(build_time=1_600_000_000)
        end = asyncio.create_task(watched.finish(second, files))
        await until(lambda: queued(watched))
        latch(watched.built, "canceled")
        before = looks(watched)
        sweep = asyncio.create_task(watched.services.sweep())
        await until(lambda: looks(watched) > before)
        assert not end.done()
    await end
    await sweep
    assert (listed(watched.repo), unsettled(watched)) == ({}, [])


async def test_while_the_api_server_is_away_nothing_is_decided(watched: WatchedWorld) -> None:
    await watched.end()
    latch(watched.built, "failed")
    watched.kube.down = True
    await watched.services.sweep()
    assert (set(listed(watched.repo)), len(unsettled(watched))) == (PACKAGES, 1)
    watched.kube.down = False
    await watched.services.sweep()
    assert (listed(watched.repo), unsettled(watched)) == ({}, [])


@pytest.mark.parametrize("gone", ["gone", "made anew"])
async def test_results_that_outlive_their_build_stay_listed(watched: WatchedWorld, gone: str) -> None:
    await watched.end()
    del watched.kube.objects[build_path(42)]
    if gone == "made anew":
        built = watched.add_build(42)
        built["metadata"]["uid"] = "another"
        latch(built, "canceled")
    await watched.services.sweep()
    assert (set(listed(watched.repo)), unsettled(watched)) == (PACKAGES, [])


async def test_a_removed_build_and_a_removed_project_are_nothing_to_be_settled(watched: WatchedWorld) -> None:
    await watched.end()
    latch(watched.built, "canceled")
    request = {"owner": "alice", "dirname": "demo", "chroots": [CHROOT]}
    assert (await watched.control("POST", "builds/42/remove", request)).status_code == 200
    await watched.control("DELETE", "projects/alice/demo")
    watched.clock.now += 601
    await watched.services.sweep()
    await watched.services.sweep()
    assert unsettled(watched) == []
    assert not watched.repo.exists()


async def test_a_repository_read_anew_from_its_rpms_does_not_list_what_was_unlisted(watched: WatchedWorld) -> None:
    await watched.end()
    latch(watched.built, "failed")
    await watched.services.sweep()
    shutil.rmtree(watched.root / REPO.state)
    await watched.restart()
    await watched.build(43, package="other")
    assert set(listed(watched.repo)) == {f"00000043-other/{name}" for name in results("other")}


async def test_a_failure_to_unlist_is_tried_again(watched: WatchedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    await watched.end()
    latch(watched.built, "failed")
    with monkeypatch.context() as patch:

        async def broken(*_arguments: object) -> None:
            raise OSError("the disk is away")

        patch.setattr(watched.services.publisher, "publish", broken)
        await watched.services.sweep()
    assert len(unsettled(watched)) == 1
    await watched.services.sweep()
    assert (listed(watched.repo), unsettled(watched)) == ({}, [])
