"""Answers that are kept for a while."""

from collections.abc import Callable
from typing import Any

SIZE = 4096


class Kept:
    """Answers for at most `seconds`, at most `size` of them; the oldest go first. `seconds` None: no time limit."""

    def __init__(self, seconds: float | None, clock: Callable[[], float], size: int = SIZE) -> None:
        self._seconds = seconds
        self._clock = clock
        self._size = size
        self._kept: dict[str, tuple[float, Any]] = {}

    def get(self, key: str) -> Any | None:
        at, value = self._kept.get(key, (0.0, None))
        if value is not None and self._seconds is not None and self._clock() - at > self._seconds:
            del self._kept[key]
            return None
        return value

    def put(self, key: str, value: Any) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (self._clock(), value)
        while len(self._kept) > self._size:
            del self._kept[next(iter(self._kept))]
