"""Waiting in a test for what another task of the same process does."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Asks until the answer is yes; the test's time limit is the only one.

    Between two questions it leaves the processor to others. With `sleep(0)` it would not: a thread that the awaited
    task works in gets the interpreter's lock back once in 5 ms only, at each of its calls of the system.
    """
    while not condition():
        await asyncio.sleep(0.002)
