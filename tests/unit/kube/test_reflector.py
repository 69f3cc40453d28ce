"""A Reflector goes on where it was, lists again when that is too old, and lets one bad object stop nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from copr_operator.kube.client import ApiError, KubeClient, Params
from copr_operator.kube.reflector import LONGEST_PAUSE, Reflector

pytestmark = pytest.mark.looptime
GONE = ApiError(410, "Expired", "too old resource version")
BROKEN = ApiError(0, "WatchBroken", "the connection broke")
Step = dict[str, Any] | ApiError


def event(kind: str, version: int, name: str = "x") -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": str(version)}}}


class Streams(KubeClient):
    """Each watch is the next of the scripted streams; an error ends one, and after the last nothing happens."""

    def __init__(self, *streams: Sequence[Step]) -> None:
        self._streams = list(streams)
        self.opened: list[tuple[float, str]] = []
        """When each watch was opened, and from which version."""

    async def watch(
        self, path: str, params: Params, *, accept: str = "application/json", idle_timeout: float = 70.0
    ) -> AsyncIterator[dict[str, Any]]:
        self.opened.append((asyncio.get_running_loop().time(), params["resourceVersion"]))
        if not self._streams:
            await asyncio.Event().wait()
        for step in self._streams.pop(0):
            if isinstance(step, ApiError):
                raise step
            yield step


class Reflected:
    """What a Reflector over these streams has asked for, and told."""

    def __init__(self, *streams: Sequence[Step]) -> None:
        self.kube = Streams(*streams)
        self.lists = 0
        self.told: list[tuple[str, str]] = []
        self.refuse: Callable[[str], None] = lambda name: None

    async def _relist(self) -> str:
        self.lists += 1
        return f"{self.lists}00"

    def _apply(self, kind: str, obj: dict[str, Any]) -> None:
        self.refuse(obj["metadata"]["name"])
        self.told.append((kind, obj["metadata"]["name"]))

    async def run(self, version: str = "", seconds: float = 60.0) -> None:
        reflector = Reflector(self.kube, "/api/v1/pods", {"labelSelector": "a=b"}, self._relist, self._apply)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await reflector.run(version)

    @property
    def versions(self) -> list[str]:
        return [version for _, version in self.kube.opened]


async def test_it_lists_first_and_watches_from_there_on() -> None:
    seen = Reflected([event("ADDED", 101, "a"), event("DELETED", 102, "b")])
    await seen.run()
    assert seen.told == [("ADDED", "a"), ("DELETED", "b")]
    assert (seen.lists, seen.versions) == (1, ["100", "102"])


async def test_a_list_that_was_read_already_is_not_read_again() -> None:
    seen = Reflected()
    await seen.run("77")
    assert (seen.lists, seen.versions) == (0, ["77"])


async def test_a_stream_that_breaks_is_taken_up_where_it_was() -> None:
    seen = Reflected([event("ADDED", 5), BROKEN], [event("MODIFIED", 6)])
    await seen.run("1")
    assert (seen.lists, seen.versions) == (0, ["1", "5", "6"])


async def test_a_bookmark_moves_the_place_and_is_told_to_nobody() -> None:
    seen = Reflected([event("BOOKMARK", 900)])
    await seen.run("1")
    assert (seen.told, seen.versions) == ([], ["1", "900"])


async def test_a_version_that_is_too_old_makes_it_list_again() -> None:
    seen = Reflected([event("ADDED", 5), GONE], [event("ADDED", 101)])
    await seen.run("1")
    assert (seen.lists, seen.versions) == (1, ["1", "100", "101"])


async def test_a_list_that_fails_is_tried_again() -> None:
    seen = Reflected()
    answers: list[str | ApiError] = [ApiError(503, "Unavailable", "etcd has no leader"), GONE, "8"]

    async def relist() -> str:
        answer = answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    seen._relist = relist  # type: ignore[method-assign]
    await seen.run()
    assert seen.versions == ["8"]


async def test_an_api_server_that_ends_every_stream_is_asked_less_and_less_often() -> None:
    seen = Reflected(*([BROKEN] for _ in range(100)))
    await seen.run("1", seconds=10 * LONGEST_PAUSE)
    assert 10 < len(seen.kube.opened) < 25


async def test_after_an_event_it_comes_back_at_once() -> None:
    seen = Reflected(*([BROKEN] for _ in range(8)), [event("ADDED", 2), BROKEN])
    await seen.run("1", seconds=100)
    (before, _), (after, version) = seen.kube.opened[-2:]
    assert version == "2"
    assert after - before < 0.2


async def test_an_object_that_can_not_be_handled_is_named_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen = Reflected([event("ADDED", 2, "bad"), event("ADDED", 3, "good")])

    def refuse(name: str) -> None:
        if name == "bad":
            raise KeyError("spec")

    seen.refuse = refuse
    with caplog.at_level(logging.ERROR):
        await seen.run("1")
    assert seen.told == [("ADDED", "good")]
    assert "ADDED bad of /api/v1/pods" in caplog.text
