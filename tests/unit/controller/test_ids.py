"""Build ids: growing, never given twice, whoever takes them and whatever breaks on the way."""

import asyncio

import pytest

from copr_operator.controller import ids as ids_module
from copr_operator.controller.backend import BackendError
from copr_operator.controller.ids import BLOCK, COUNTER, IdAllocator, IdsUnavailableError
from copr_operator.kube.client import ApiError
from tests.unit.controller.fakes import FakeKube

PLACE = ("configmaps", "system", COUNTER)


def allocator(kube: FakeKube, highest: int = 0) -> IdAllocator:
    async def highest_used() -> int:
        return highest

    return IdAllocator(kube, "system", highest_used, retry=10)


def counter(kube: FakeKube) -> str:
    value: str = kube.objects[PLACE]["data"]["next"]
    return value


async def test_the_first_id_is_one() -> None:
    kube = FakeKube()
    ids = allocator(kube)
    assert [await ids.for_build(uid) for uid in "abc"] == [1, 2, 3]
    assert counter(kube) == str(1 + BLOCK)


async def test_a_block_costs_one_write() -> None:
    kube = FakeKube()
    ids = allocator(kube)
    given = [await ids.for_build(str(number)) for number in range(2 * BLOCK + 1)]
    assert given == list(range(1, 2 * BLOCK + 2))
    assert len(kube.writes) == 3


async def test_a_build_keeps_its_id_until_it_is_written() -> None:
    ids = allocator(FakeKube())
    assert [await ids.for_build("a"), await ids.for_build("b"), await ids.for_build("a")] == [1, 2, 1]
    ids.written("a")
    ids.written("never seen")
    assert await ids.for_build("a") == 3


async def test_many_at_once_get_different_ids_from_one_block() -> None:
    kube = FakeKube()
    ids = allocator(kube)
    given = await asyncio.gather(*(ids.for_build(str(number)) for number in range(BLOCK)))
    assert sorted(given) == list(range(1, BLOCK + 1))
    assert len(kube.writes) == 1


async def test_two_controllers_at_once_never_give_the_same_id() -> None:
    kube = FakeKube()
    one, two = allocator(kube), allocator(kube)
    given = await asyncio.gather(*((one, two)[n % 2].for_build(str(n)) for n in range(10 * BLOCK)))
    assert len(set(given)) == 10 * BLOCK


async def test_a_restart_leaves_a_gap_and_gives_no_id_again() -> None:
    kube = FakeKube()
    before = [await allocator(kube).for_build(uid) for uid in "ab"]
    assert before == [1, 1 + BLOCK]


async def test_a_counter_that_a_restore_has_set_back_starts_above_the_store() -> None:
    kube = FakeKube()
    kube.put(PLACE, {"metadata": {"name": COUNTER}, "data": {"next": "41"}})
    assert await allocator(kube, highest=1000).for_build("a") == 1001
    assert counter(kube) == str(1001 + BLOCK)


async def test_a_lost_counter_starts_above_the_store() -> None:
    assert await allocator(FakeKube(), highest=1000).for_build("a") == 1001


async def test_a_store_that_is_behind_does_not_set_the_counter_back() -> None:
    kube = FakeKube()
    kube.put(PLACE, {"metadata": {"name": COUNTER}, "data": {"next": "41"}})
    assert await allocator(kube, highest=7).for_build("a") == 41


async def test_no_id_is_given_while_the_store_can_not_say_how_high_it_is() -> None:
    kube = FakeKube()
    answers: list[int | Exception] = [BackendError("the backend is away"), ValueError("no number"), 50]

    async def highest_used() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ids = IdAllocator(kube, "system", highest_used, retry=0)
    for problem in ("the backend is away", "can't be read: ValueError"):
        with pytest.raises(IdsUnavailableError, match=problem):
            await ids.for_build("a")
    assert kube.writes == []
    assert await ids.for_build("a") == 51


class Backend:
    """It answers when the test lets it, and counts the questions."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[int]] = []

    async def highest_used(self) -> int:
        self.questions.append(asyncio.get_running_loop().create_future())
        return await self.questions[-1]

    async def asked(self) -> asyncio.Future[int]:
        while not self.questions:
            await asyncio.sleep(0)
        return self.questions[-1]


async def test_the_backend_is_asked_once_for_all_builds() -> None:
    backend = Backend()
    ids = IdAllocator(FakeKube(), "system", backend.highest_used, retry=10)
    waiting = [asyncio.create_task(ids.for_build(str(number))) for number in range(BLOCK)]
    (await backend.asked()).set_result(0)
    assert sorted(await asyncio.gather(*waiting)) == list(range(1, BLOCK + 1))
    assert len(backend.questions) == 1


async def test_the_failure_of_one_question_counts_for_all_and_for_a_while() -> None:
    backend = Backend()
    ids = IdAllocator(FakeKube(), "system", backend.highest_used, retry=10)
    waiting = [asyncio.create_task(ids.for_build(str(number))) for number in range(3)]
    (await backend.asked()).set_exception(BackendError("away"))
    found = [*await asyncio.gather(*waiting, return_exceptions=True)]
    with pytest.raises(IdsUnavailableError) as later:
        await ids.for_build("later")
    for error in (*found, later.value):
        assert isinstance(error, IdsUnavailableError)
        assert str(error) == "away"
        assert 9 < error.again <= 10
    assert len(backend.questions) == 1


async def test_nobody_waits_long_for_a_backend_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "PATIENCE", 0.0)
    backend = Backend()
    ids = IdAllocator(FakeKube(), "system", backend.highest_used, retry=10)
    for uid in "ab":
        with pytest.raises(IdsUnavailableError, match="not answered yet"):
            await ids.for_build(uid)
    (await backend.asked()).set_result(7)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [await ids.for_build(uid) for uid in "ab"] == [8, 9]
    assert len(backend.questions) == 1


async def test_a_build_that_has_its_id_waits_for_nobody() -> None:
    ids = allocator(FakeKube())
    await ids.for_build("a")
    async with ids._lock:
        assert await ids.for_build("a") == 1


async def test_a_block_whose_answer_is_lost_is_never_used() -> None:
    kube = FakeKube()
    ids = allocator(kube)

    async def lose(method: str, path: str) -> None:
        kube.after = None
        raise ApiError(0, "NoAnswer", "connection reset")

    kube.after = lose
    with pytest.raises(ApiError):
        await ids.for_build("a")
    assert await ids.for_build("a") == 1 + BLOCK


@pytest.mark.parametrize("value", ["", "many", "-5", "1.5", "٣"])
async def test_a_broken_counter_is_named_and_not_written(value: str) -> None:
    kube = FakeKube()
    kube.put(PLACE, {"metadata": {"name": COUNTER}, "data": {"next": value}})
    with pytest.raises(ValueError, match=f"ConfigMap {COUNTER}: data.next is"):
        await allocator(kube).for_build("a")
    assert kube.writes == []


async def test_an_empty_counter_is_named() -> None:
    kube = FakeKube()
    kube.put(PLACE, {"metadata": {"name": COUNTER}})
    with pytest.raises(ValueError, match=COUNTER):
        await allocator(kube).for_build("a")
