"""How often something may happen, for each of many keys."""

import time
from collections.abc import Callable

_MOST_KEYS = 10000


class Allowance:
    """`times` in `seconds`. Whoever asks says what counts: only what was in vain, for example."""

    def __init__(self, times: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._times = times
        self._seconds = seconds
        self._clock = clock
        self._used: dict[str, tuple[float, int]] = {}
        """Since when, and how often since then."""

    def spent(self, key: str) -> bool:
        since, count = self._used.get(key, (0.0, 0))
        return count >= self._times and self._clock() - since < self._seconds

    def use(self, key: str) -> None:
        now = self._clock()
        since, count = self._used.pop(key, (now, 0))
        self._used[key] = (now, 1) if now - since >= self._seconds else (since, count + 1)
        while len(self._used) > _MOST_KEYS:
            del self._used[next(iter(self._used))]
