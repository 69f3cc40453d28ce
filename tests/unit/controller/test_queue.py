"""The work queue, by the clock of an event loop that does not wait."""

import asyncio
from typing import Any

import pytest

from copr_operator.controller.queue import BACKOFF_LIMIT, SLACK, KeyedQueue, Turn

pytestmark = pytest.mark.looptime


@pytest.fixture
async def queue() -> KeyedQueue[str]:
    return KeyedQueue()


async def nothing_comes(queue: KeyedQueue[str], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await queue.get()
    except TimeoutError:
        return True
    return False


async def test_keys_come_in_the_order_they_were_added(queue: KeyedQueue[str]) -> None:
    for key in "cab":
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]


async def test_a_key_that_is_added_twice_comes_once(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    queue.done(await queue.get())
    assert await nothing_comes(queue, 1000)


async def test_a_worker_that_waits_gets_the_next_key_at_once(queue: KeyedQueue[str], looptime: Any) -> None:
    asyncio.get_running_loop().call_later(5, queue.add, "a")
    assert await queue.get() == "a"
    assert looptime == 5


async def test_each_of_several_waiting_workers_gets_a_key(queue: KeyedQueue[str]) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(1)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.gather(*workers)) == ["a", "b", "c"]


async def test_a_key_is_not_given_to_two_workers_at_once(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert await nothing_comes(queue, 1000)


async def test_a_key_that_is_added_while_it_is_worked_on_comes_once_more_afterwards(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    queue.done(key)
    queue.done(await queue.get())
    assert await nothing_comes(queue, 1000)


async def test_other_keys_do_not_wait_for_one_that_is_worked_on(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"


async def test_it_is_idle_when_nothing_is_due_and_nothing_worked_on(queue: KeyedQueue[str]) -> None:
    queue.add_after("later", 10)
    assert queue.idle
    queue.add("a")
    assert not queue.idle
    key = await queue.get()
    assert not queue.idle
    queue.done(key)
    assert queue.idle


async def test_workers_side_by_side_lose_nothing_and_share_no_key(queue: KeyedQueue[str]) -> None:
    loop = asyncio.get_running_loop()
    running: set[str] = set()
    added: dict[str, float] = {}
    seen: dict[str, float] = {}

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in running
            running.add(key)
            seen[key] = loop.time()
            await asyncio.sleep(1 + len(seen) % 3)
            running.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for number in range(300):
        key = f"k{number * 7 % 23}"
        added[key] = loop.time()
        (queue.add if number % 3 else lambda k: queue.add_after(k, 2.5))(key)
        await asyncio.sleep(0.3)
    await asyncio.sleep(100)
    assert not any(worker.done() for worker in workers)
    assert {key for key, when in added.items() if seen[key] < when} == set(), "added and not worked on since"
    for worker in workers:
        worker.cancel()


async def test_a_worker_that_is_cancelled_takes_no_key_with_it(queue: KeyedQueue[str]) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    waiting.cancel()
    queue.add("a")
    assert await queue.get() == "a"


class TestTurns:
    """Keys are `<group><number>`; a capital letter is a group whose keys come last."""

    @pytest.fixture
    async def queue(self) -> KeyedQueue[str]:
        return KeyedQueue(lambda key: Turn(key[0].isupper(), key[0].lower()))

    async def test_groups_take_turns_and_each_keeps_its_order(self, queue: KeyedQueue[str]) -> None:
        for key in ("a1", "a2", "a3", "b1", "c1", "c2"):
            queue.add(key)
        assert [await queue.get() for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]

    async def test_one_key_beside_a_thousand_of_another_group_waits_for_one_of_them(
        self, queue: KeyedQueue[str]
    ) -> None:
        for number in range(1000):
            queue.add(f"a{number}")
        assert await queue.get() == "a0"
        queue.add("b0")
        assert [await queue.get(), await queue.get()] == ["a1", "b0"]

    async def test_what_comes_last_comes_when_nothing_else_is_ready(self, queue: KeyedQueue[str]) -> None:
        for key in ("A1", "B1", "A2", "a1", "b1"):
            queue.add(key)
        assert [await queue.get() for _ in range(5)] == ["a1", "b1", "A1", "B1", "A2"]
        queue.add("A3")
        assert await queue.get() == "A3"

    async def test_the_turn_is_asked_anew_each_time_a_key_becomes_ready(self) -> None:
        late: set[str] = {"x"}
        queue: KeyedQueue[str] = KeyedQueue(lambda key: Turn(key in late, key))
        queue.add("x")
        key = await queue.get()
        queue.add("x")
        late.clear()
        queue.done(key)
        queue.add("y")
        assert [await queue.get(), await queue.get()] == ["x", "y"]

    async def test_a_key_that_is_added_again_comes_last_no_more_when_it_need_not(self) -> None:
        """A background build that is canceled while it waits."""
        late: set[str] = {"x", "y", "z"}
        queue: KeyedQueue[str] = KeyedQueue(lambda key: Turn(key in late))
        for key in ("x", "y", "z", "a", "b"):
            queue.add(key)
        late.remove("z")
        queue.add("z")
        assert len(queue) == 5
        assert [await queue.get() for _ in range(5)] == ["a", "b", "z", "x", "y"]
        assert await nothing_comes(queue, 1000)

    async def test_a_key_that_was_moved_and_comes_last_again_comes_once(self) -> None:
        late: set[str] = {"x", "y"}
        queue: KeyedQueue[str] = KeyedQueue(lambda key: Turn(key in late))
        queue.add("y")
        queue.add("x")
        late.remove("x")
        queue.add("x")
        queue.done(await queue.get())
        late.add("x")
        queue.add("x")
        assert sorted([await queue.get(), await queue.get()]) == ["x", "y"]
        for key in late:
            queue.done(key)
        assert await nothing_comes(queue, 1000)


class TestDelays:
    async def test_a_delayed_key_comes_when_it_is_due(self, queue: KeyedQueue[str], looptime: Any) -> None:
        queue.add_after("a", 30)
        assert len(queue) == 0
        assert await queue.get() == "a"
        assert looptime == 30

    async def test_a_delay_of_nothing_is_none(self, queue: KeyedQueue[str], looptime: Any) -> None:
        queue.add_after("a", 0)
        queue.add_after("b", -1)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert looptime == 0

    @pytest.mark.parametrize("delays", [(30, 10), (10, 30), (10, 10, 30)])
    async def test_the_earliest_of_several_delays_counts(
        self, queue: KeyedQueue[str], looptime: Any, delays: tuple[int, ...]
    ) -> None:
        for delay in delays:
            queue.add_after("a", delay)
        queue.done(await queue.get())
        assert looptime == 10
        assert await nothing_comes(queue, 1000)

    async def test_a_shorter_delay_wakes_a_worker_that_waits_for_a_longer_one(
        self, queue: KeyedQueue[str], looptime: Any
    ) -> None:
        queue.add_after("late", 100)
        asyncio.get_running_loop().call_later(1, queue.add_after, "early", 2)
        assert await queue.get() == "early"
        assert looptime == 3

    async def test_a_key_that_comes_at_once_comes_again_when_its_delay_is_over(
        self, queue: KeyedQueue[str], looptime: Any
    ) -> None:
        queue.add_after("a", 10)
        queue.add("a")
        queue.done(await queue.get())
        assert looptime == 0
        await queue.get()
        assert looptime == 10

    async def test_success_says_anew_when_to_look_again(self, queue: KeyedQueue[str], looptime: Any) -> None:
        queue.add_after("a", 10)
        queue.add("a")
        key = await queue.get()
        queue.succeeded(key)
        queue.add_after(key, 50)
        queue.done(key)
        await queue.get()
        assert looptime == 50

    async def test_delays_that_are_not_needed_any_more_take_no_memory(
        self, queue: KeyedQueue[str], looptime: Any
    ) -> None:
        """A build is looked at many times, and has its deadline in hours each time."""
        for number in range(300):
            for _ in range(25):
                queue.succeeded(f"ended {number}")
                queue.add_after(f"ended {number}", 18_000 + number)
            queue.succeeded(f"ended {number}")
            queue.add_after(f"runs {number}", 1000 - number)
        assert len(queue._heap) <= 2 * 300 + SLACK + 1
        assert [await queue.get() for _ in range(300)] == [f"runs {number}" for number in reversed(range(300))]
        assert looptime == 1000
        assert await nothing_comes(queue, 100_000)

    async def test_a_key_that_is_due_while_it_is_worked_on_comes_afterwards(
        self, queue: KeyedQueue[str], looptime: Any
    ) -> None:
        queue.add("a")
        key = await queue.get()
        queue.add_after("a", 1)
        asyncio.get_running_loop().call_later(5, queue.done, key)
        assert await queue.get() == "a"
        assert looptime == 5


class TestFailures:
    @pytest.fixture
    def steady(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)

    @pytest.mark.usefixtures("steady")
    async def test_the_delay_doubles_up_to_a_limit(self, queue: KeyedQueue[str]) -> None:
        delays = [queue.failed("a") for _ in range(40)]
        assert delays[:5] == [0.5, 1, 2, 4, 8]
        assert set(delays[10:]) == {BACKOFF_LIMIT}

    async def test_the_delay_has_jitter_of_a_quarter(self, queue: KeyedQueue[str]) -> None:
        delays = [queue.failed(f"key {number}") for number in range(200)]
        assert 0.375 <= min(delays) < 0.45
        assert 0.55 < max(delays) <= 0.625

    async def test_a_failed_key_comes_after_its_delay(self, queue: KeyedQueue[str], looptime: Any) -> None:
        queue.add("a")
        key = await queue.get()
        delay = queue.failed(key)
        queue.done(key)
        assert await queue.get() == "a"
        assert float(looptime) == pytest.approx(delay, abs=0.001)

    @pytest.mark.usefixtures("steady")
    async def test_a_server_that_says_how_long_to_wait_is_obeyed(self, queue: KeyedQueue[str]) -> None:
        assert queue.failed("a", at_least=30) == 30
        assert queue.failed("a", at_least=0.1) == 1

    @pytest.mark.usefixtures("steady")
    async def test_success_lets_the_delay_begin_anew(self, queue: KeyedQueue[str]) -> None:
        assert [queue.failed("a"), queue.failed("a")] == [0.5, 1]
        queue.succeeded("a")
        assert queue.failed("a") == 0.5

    @pytest.mark.usefixtures("steady")
    async def test_keys_fail_by_themselves(self, queue: KeyedQueue[str]) -> None:
        assert [queue.failed("a"), queue.failed("a"), queue.failed("b")] == [0.5, 1, 0.5]


class TestOldest:
    async def test_an_empty_queue_is_of_no_age(self, queue: KeyedQueue[str]) -> None:
        queue.add_after("later", 10)
        await asyncio.sleep(5)
        assert queue.oldest == 0

    async def test_the_key_that_has_waited_longest_counts_from_when_it_was_due(self, queue: KeyedQueue[str]) -> None:
        queue.add("a")
        await asyncio.sleep(3)
        queue.add("b")
        await asyncio.sleep(4)
        assert queue.oldest == 7
        await queue.get()
        assert queue.oldest == 4
        await queue.get()
        assert queue.oldest == 0
