"""Ended builds: whose deletion is heard of, and how far the next controller may take it that all was heard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from copr_operator.controller.ended import EndedBuilds
from copr_operator.controller.store import Key
from copr_operator.kube.client import ApiError, Params
from tests.unit.controller.fakes import FakeKube

pytestmark = pytest.mark.looptime
EXPIRED = ApiError(410, "Expired", "too old resource version")


def event(kind: str, version: int, name: str = "hello", *, leaving: bool = False) -> dict[str, Any]:
    meta = {"namespace": "ns", "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    if leaving:
        meta["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    return {"type": kind, "object": {"metadata": meta}}


class Streams(FakeKube):
    """Its watches tell what they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.events: asyncio.Queue[dict[str, Any] | ApiError] = asyncio.Queue()

    async def watch(
        self, path: str, params: Params, *, accept: str = "application/json", idle_timeout: float = 70.0
    ) -> AsyncIterator[dict[str, Any]]:
        self.opened.append(params["resourceVersion"])
        while True:
            told = await self.events.get()
            if isinstance(told, ApiError):
                raise told
            yield told


class Ended(EndedBuilds):
    """With whom they have woken, and how often they were listed."""

    def __init__(self, *namespaces: str) -> None:
        self.kube = Streams()
        self.woken: list[str] = []
        self.lists = 0
        self.kube.before = self._count
        super().__init__(self.kube, lambda key: self.woken.append(key.name), namespaces or (None,))

    async def _count(self, method: str, path: str) -> None:
        self.lists += 1

    @contextlib.asynccontextmanager
    async def watched(self, heard: str = "", newest: str = "1000") -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch(heard, newest))
        await asyncio.sleep(1)
        try:
            yield
        finally:
            task.cancel()

    async def tell(self, *events: dict[str, Any] | ApiError) -> None:
        for one in events:
            self.kube.events.put_nowait(one)
        await asyncio.sleep(1)

    def add(self, name: str, *, leaving: bool = False) -> None:
        meta = event("", 0, name, leaving=leaving)["object"]["metadata"]
        self.kube.put(("coprbuilds", "ns", name), {"metadata": meta, "status": {"state": "succeeded"}})


async def test_without_a_former_watch_they_are_listed_once_and_watched_from_there_on() -> None:
    ended = Ended()
    ended.add("stays")
    ended.add("goes", leaving=True)
    async with ended.watched():
        assert (ended.woken, ended.lists, ended.kube.opened) == (["goes"], 1, ["2"])


async def test_the_watch_goes_on_where_the_former_ended_and_lists_nothing() -> None:
    ended = Ended()
    async with ended.watched('{"":"77"}'):
        await ended.tell(event("MODIFIED", 80, leaving=True))
        assert (ended.woken, ended.lists, ended.kube.opened) == (["hello"], 0, ["77"])


async def test_a_place_that_the_api_server_has_forgotten_makes_it_list() -> None:
    ended = Ended()
    ended.add("goes", leaving=True)
    async with ended.watched('{"":"77"}'):
        await ended.tell(EXPIRED)
        assert (ended.woken, ended.lists, ended.kube.opened) == (["goes"], 1, ["77", "1"])


@pytest.mark.parametrize("heard", ["", "{", "[]", '{"":7}', '{"":"x"}', '{"other":"77"}', '{"":"1001"}'])
async def test_what_says_nothing_of_this_history_makes_it_list(heard: str) -> None:
    """1001: after an etcd that was restored from a backup, versions are lower than they were."""
    ended = Ended()
    async with ended.watched(heard):
        assert (ended.lists, ended.kube.opened) == (1, ["0"])


async def test_a_build_that_has_just_ended_is_no_news_and_one_that_is_changed_is() -> None:
    ended = Ended()
    async with ended.watched('{"":"77"}'):
        await ended.tell(event("ADDED", 80, "done"), event("MODIFIED", 81, "changed"), event("DELETED", 82, "gone"))
        assert ended.woken == ["changed"]


class TestHeard:
    async def test_nothing_before_anything_was_read(self) -> None:
        assert Ended().heard() == ""

    async def test_up_to_the_last_event_or_bookmark(self) -> None:
        ended = Ended()
        async with ended.watched('{"":"77"}'):
            assert ended.heard() == '{"":"77"}'
            await ended.tell(event("ADDED", 80))
            assert ended.heard() == '{"":"80"}'
            await ended.tell(event("BOOKMARK", 95))
            assert ended.heard() == '{"":"95"}'

    async def test_a_deletion_that_is_not_done_is_to_be_heard_again(self) -> None:
        ended = Ended()
        async with ended.watched('{"":"77"}'):
            await ended.tell(event("ADDED", 79, "other"))
            assert ended.heard() == '{"":"79"}'
            await ended.tell(event("MODIFIED", 80, leaving=True), event("BOOKMARK", 95))
            assert ended.heard() == '{"":"79"}'
            await ended.tell(event("DELETED", 96, leaving=True))
            assert ended.heard() == '{"":"96"}'

    async def test_deletions_that_a_list_has_shown_count_too(self) -> None:
        ended = Ended()
        ended.add("goes", leaving=True)
        async with ended.watched():
            await ended.tell(event("BOOKMARK", 95))
            assert ended.heard() == ""
            await ended.tell(event("DELETED", 96, "goes", leaving=True))
            assert ended.heard() == '{"":"96"}'

    async def test_of_each_namespace_apart(self) -> None:
        ended = Ended("one", "two")
        async with ended.watched('{"one":"77"}'):
            assert (sorted(ended.kube.opened), ended.heard()) == (["0", "77"], '{"one":"77","two":"0"}')


async def test_keys_are_builds() -> None:
    woken: list[Key] = []
    kube = FakeKube()
    meta = event("", 0, "goes", leaving=True)["object"]["metadata"]
    kube.put(("coprbuilds", "ns", "goes"), {"metadata": meta, "status": {"state": "failed"}})
    await EndedBuilds(kube, woken.append, (None,)).find_deleted()
    assert woken == [Key("build", "ns", "goes")]
