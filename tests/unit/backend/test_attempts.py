"""A step's attempts, and what is left of those that never came to their end."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.unit.backend.world import CHROOT, World, bearer, listed, results

RESULT = "00000042-hello"
LOG = f"{RESULT}/builder-live.log.gz"
CENTURY = 100 * 365 * 86400


@pytest.fixture
def build(world: World) -> dict[str, Any]:
    return world.add_build(42)


def attempt(world: World, build: dict[str, Any], number: int) -> str:
    """The controller begins an attempt; its pod's token."""
    build["status"]["chroots"][0]["attempt"] = number
    return world.add_pod(42, CHROOT, attempt=number)


async def dead(world: World, build: dict[str, Any]) -> str:
    """A first attempt whose node went away in the middle of it; its pod's token."""
    token = attempt(world, build, 1)
    await world.append(token, b"dead\n", 0)
    await world.put(token, "hello-1.0-1.src.rpm", b"half of the results")
    return token


def files_of(world: World, number: int) -> set[str]:
    root = world.root / "spool" / "00000042" / f"{CHROOT}-{number}"
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


async def give_up_what_is_old(world: World) -> None:
    world.clock.now += CENTURY
    await world.services.sweep()


async def test_an_attempt_that_begins_frees_the_room_of_the_one_before(world: World, build: dict[str, Any]) -> None:
    await dead(world, build)
    await world.append(attempt(world, build, 2), b"second\n", 0)
    assert files_of(world, 1) == {"step.json"}
    assert (await world.get(f"alice/demo/{CHROOT}/{RESULT}/builder-live.log")).text == "second\n"


async def test_a_late_pod_of_an_earlier_attempt_is_sent_away_though_it_is_still_known(
    world: World, build: dict[str, Any]
) -> None:
    first = await dead(world, build)
    await world.append(attempt(world, build, 2), b"second\n", 0)
    answers = [
        await world.append(first, b"late\n", 5),
        await world.put(first, "x.rpm", b"x"),
        await world.finish(first),
    ]
    assert [answer.status_code for answer in answers] == [410, 410, 410]
    assert files_of(world, 1) == {"step.json"}


async def test_a_file_that_arrives_while_the_next_attempt_begins_is_refused(
    world: World, build: dict[str, Any]
) -> None:
    first = await dead(world, build)
    second = attempt(world, build, 2)
    here, gone_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2**21
        here.set()
        await gone_on.wait()
        yield b"x"

    headers = bearer(first) | {"X-Content-SHA256": "0" * 64}
    late: asyncio.Task[httpx.Response] = asyncio.create_task(
        world.http.put("/agent/v1/files/x.log", content=slow(), headers=headers)
    )
    await here.wait()
    await world.append(second, b"second\n", 0)
    gone_on.set()
    assert (await late).status_code in (410, 422)
    assert files_of(world, 1) == {"step.json"}


async def test_the_log_of_a_retry_stays_when_the_dead_attempt_is_given_up(world: World, build: dict[str, Any]) -> None:
    await dead(world, build)
    second = attempt(world, build, 2)
    assert (await world.send(second, results(), log=b"second\n")).json()["outcome"] == "succeeded"
    await give_up_what_is_old(world)
    assert gzip.decompress((world.repo / LOG).read_bytes()) == b"second\n"
    assert list((world.root / "spool").iterdir()) == []
    assert len(listed(world.repo)) == 2


@pytest.mark.parametrize("fate", ["failed", "never ended"])
async def test_of_several_attempts_without_a_result_the_last_one_s_log_is_kept(
    world: World, build: dict[str, Any], fate: str
) -> None:
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    await dead(world, build)
    second = attempt(world, build, 2)
    await world.append(second, b"second\n", 0)
    if fate == "failed":
        await world.finish(second, outcome="failed")
    await give_up_what_is_old(world)
    assert gzip.decompress((world.repo / LOG).read_bytes()) == b"second\n"
    assert list((world.root / "spool").iterdir()) == []


async def test_a_late_log_does_not_replace_that_of_a_success_whose_spool_is_gone(
    world: World, build: dict[str, Any]
) -> None:
    await dead(world, build)
    (world.root / "spool" / "00000042").rename(world.root / "aside")
    assert (await world.send(attempt(world, build, 2), results(), log=b"second\n")).json()["outcome"] == "succeeded"
    (world.root / "aside" / f"{CHROOT}-1").rename(world.root / "spool" / "00000042" / f"{CHROOT}-1")
    world.services.spool.drop(world.services.spool.step(42, CHROOT, 2))
    await give_up_what_is_old(world)
    assert gzip.decompress((world.repo / LOG).read_bytes()) == b"second\n"


async def test_a_step_that_can_not_be_given_up_frees_its_files_and_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.control("PUT", f"repos/alice/demo/{CHROOT}")
    for number in (1, 2):
        world.add_build(number)
        token = world.add_pod(number, CHROOT)
        await world.append(token, b"log\n", 0)
        await world.put(token, "x.rpm", b"x" * 1000)
    adopt = world.services.store.adopt

    def full(source: Any, path: str) -> None:
        if "00000001" in path:
            raise OSError(28, "no space left on device")
        adopt(source, path)

    with monkeypatch.context() as patch:
        patch.setattr(world.services.store, "adopt", full)
        await give_up_what_is_old(world)
    left = {path.name for path in (world.root / "spool").rglob("*") if path.is_file() and path.suffix != ".gz"}
    assert left == {"step.json", "builder-live.log"}
    assert (world.repo / "00000002-hello" / "builder-live.log.gz").exists()
    await world.services.sweep()
    assert (world.repo / "00000001-hello" / "builder-live.log.gz").exists()
    assert list((world.root / "spool").iterdir()) == []


async def test_a_step_that_could_not_be_given_up_is_not_taken_for_one_that_was_touched(world: World) -> None:
    world.add_build(1)
    await world.append(world.add_pod(1, CHROOT), b"log\n", 0)
    step = world.services.spool.step(1, CHROOT, 1)
    sent = (step.logs / "builder-live.log").stat().st_mtime
    await asyncio.to_thread(step.packed_log, "builder-live.log")
    step.drop_files()
    assert [found.path for found in world.services.spool.abandoned(sent + 0.001)] == [step.path]
