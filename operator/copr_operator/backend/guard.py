"""Who works on which build: steps that store results and the removal of the build keep out of each other's way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from copr_operator.backend.errors import HttpError


class BuildGuard:
    """Steps of a build work side by side, each step once at a time; a removal waits for them and lets no new one in."""

    def __init__(self) -> None:
        self._working: Counter[int] = Counter()
        self._steps: dict[tuple[int, str], asyncio.Lock] = {}
        self._waiting: Counter[tuple[int, str]] = Counter()
        self._changed = asyncio.Condition()
        self._removed: set[int] = set()

    @asynccontextmanager
    async def working(self, build_id: int, step: str) -> AsyncIterator[None]:
        """Raises HttpError 410 when the build has been removed."""
        key = (build_id, step)
        lock = self._steps.setdefault(key, asyncio.Lock())
        self._waiting[key] += 1
        try:
            async with lock:
                if build_id in self._removed:
                    raise HttpError(410, f"build {build_id} has been removed")
                self._working[build_id] += 1
                try:
                    yield
                finally:
                    self._working[build_id] -= 1
                    if not self._working[build_id]:
                        del self._working[build_id]
                    async with self._changed:
                        self._changed.notify_all()
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._steps[key]

    def remove(self, build_id: int) -> None:
        """From now on no step of the build may begin to store results."""
        self._removed.add(build_id)

    def forget(self, build_id: int) -> None:
        """The removal is over: its traces are gone."""
        self._removed.discard(build_id)

    async def quiet(self, build_id: int) -> None:
        """Wait until no step of the build is storing results."""
        async with self._changed:
            await self._changed.wait_for(lambda: build_id not in self._working)
