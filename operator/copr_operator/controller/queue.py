"""A keyed work queue with client-go's semantics: a key is never worked on twice at once and never lost.

A key that is added while it is being worked on is worked on again afterwards. Delayed keys keep their earliest time.
Groups of keys take turns, so that a thousand builds of one project don't hold up the one of another.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")

BACKOFF_BASE = 0.5
BACKOFF_LIMIT = 300.0
SLACK = 64
"""Delays that were replaced, or are not needed any more, may be as many as the others and these."""


class Turn(NamedTuple):
    """When a key comes that is ready."""

    last: bool = False
    """After all that are not so."""
    group: Hashable = None
    """Groups take turns; within one the order is that of arrival."""


class _Turns(Generic[K]):
    """Ready keys of one rank, in the order in which they are taken."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, deque[K]] = {}
        """None of them empty; the first one's turn is next."""

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, group: Hashable, key: K) -> None:
        self._groups.setdefault(group, deque()).append(key)

    def take(self) -> K:
        group = next(iter(self._groups))
        keys = self._groups.pop(group)
        key = keys.popleft()
        if keys:
            self._groups[group] = keys  # at the end of the line
        return key


class KeyedQueue(Generic[K]):
    """Times are those of the running event loop, in seconds."""

    def __init__(self, turn: Callable[[K], Turn] = lambda _: Turn()) -> None:
        """`turn` is asked when a key becomes ready, and again when one that comes last is added once more."""
        self._turn = turn
        self._ready: tuple[_Turns[K], _Turns[K]] = (_Turns(), _Turns())
        self._late: set[K] = set()
        """Those of the second rank; what else is found there has been moved to the first."""
        self._dirty: set[K] = set()
        self._running: set[K] = set()
        self._delayed: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = 0
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()
        self._added: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def idle(self) -> bool:
        """Whether nothing is worked on and nothing is due."""
        return not self._dirty and not self._running

    @property
    def oldest(self) -> float:
        """Seconds the longest-waiting key has waited."""
        if not self._added:
            return 0.0
        return asyncio.get_running_loop().time() - min(self._added.values())

    def add(self, key: K) -> None:
        """Work on the key as soon as a worker is free."""
        if key in self._dirty:
            if key in self._late and not self._turn(key).last:
                self._make_ready(key)
            return
        self._dirty.add(key)
        self._added[key] = asyncio.get_running_loop().time()
        if key not in self._running:
            self._make_ready(key)

    def _make_ready(self, key: K) -> None:
        turn = self._turn(key)
        (self._late.add if turn.last else self._late.discard)(key)
        self._ready[turn.last].add(turn.group, key)
        self._wakeup.set()

    def add_after(self, key: K, delay: float) -> None:
        """Work on the key in `delay` seconds, unless it is due earlier already."""
        if delay <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + delay
        if self._delayed.get(key, due + 1) <= due:
            return
        self._delayed[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        if len(self._heap) > 2 * len(self._delayed) + SLACK:
            self._heap = [(due, number, key) for number, (key, due) in enumerate(self._delayed.items())]
            heapq.heapify(self._heap)
        self._wakeup.set()

    async def get(self) -> K:
        """The next key to work on; call `done` with it afterwards."""
        while True:
            self._release_due()
            if (key := self._take()) is not None:
                self._dirty.discard(key)
                self._added.pop(key, None)
                self._running.add(key)
                return key
            self._wakeup.clear()
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._wakeup.wait()
            except TimeoutError:
                continue

    def _take(self) -> K | None:
        first, last = self._ready
        if first:
            return first.take()
        while last:
            key = last.take()
            if key in self._late:
                self._late.discard(key)
                return key
        return None

    def done(self, key: K) -> None:
        """The work on the key has ended, in whatever way."""
        self._running.discard(key)
        if key in self._dirty:
            self._make_ready(key)

    def succeeded(self, key: K) -> None:
        """Forget the key's failures and its delay: who has just looked knows best when to look again."""
        self._failures.pop(key, None)
        self._delayed.pop(key, None)

    def failed(self, key: K, at_least: float = 0.0) -> float:
        """Work on the key again after a delay that doubles with each failure, with jitter; returns the delay."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(BACKOFF_BASE * 2.0 ** min(count, 16), BACKOFF_LIMIT)
        delay = max(delay * random.uniform(0.75, 1.25), at_least)  # noqa: S311 (jitter, not a secret)
        self.add_after(key, delay)
        return delay

    def _release_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._delayed.get(key) == due:  # else an earlier entry has replaced this one
                del self._delayed[key]
                self.add(key)

    def _until_next(self) -> float | None:
        if not self._heap:
            return None
        return max(0.0, self._heap[0][0] - asyncio.get_running_loop().time())
