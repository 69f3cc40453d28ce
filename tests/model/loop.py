"""An event loop without I/O whose time stands still until a test moves it: a controller's tasks run in it to the point
where each of them waits for an answer, a timer or an event, and the test decides which of those comes next."""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from tests.support.builders import T0


class Clock:
    """The one time of a model: seconds since T0."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)


CLOCK = Clock()
"""Of the model that runs at present; a model sets it back when it begins."""


class ModelLoop(asyncio.AbstractEventLoop):
    """What tasks, futures, timeouts, locks and `gather` need of a loop, and nothing else."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._sequence = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.errors: list[BaseException] = []
        """What background tasks died of."""

    # -- for the test ----------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts a task; what it dies of is kept in `errors`."""
        task = self.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def run(self) -> None:
        """Runs whatever can run now."""
        asyncio._set_running_loop(self)
        try:
            while True:
                while self._timers and self._timers[0][0] <= self.time():
                    _, _, timer = heapq.heappop(self._timers)
                    if not timer.cancelled():
                        self._ready.append(timer)
                if not self._ready:
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    @property
    def next_timer(self) -> float | None:
        """When the next timer is due, in the clock's seconds."""
        return min((due for due, _, timer in self._timers if not timer.cancelled()), default=None)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)

    # -- for asyncio -----------------------------------------------------------------------------------------------

    def time(self) -> float:
        return CLOCK.seconds

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        heapq.heappush(self._timers, (when, self._sequence, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task that was never resumed belongs to a controller that was killed: nothing to say about it."""
        if (error := context.get("exception")) is not None:
            self.errors.append(error)
