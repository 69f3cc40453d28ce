"""Learning of the untrusted container's end from the FIFO that its wrapper holds open."""

import asyncio
import os
from enum import Enum
from pathlib import Path


class End(Enum):
    ENDED = "ended"
    STILL_RUNNING = "still running"
    NEVER_STARTED = "never started"


async def wait_for_end(fifo: Path, timeout: float) -> End:
    """Waits until the FIFO had a writer and has none any more, at most `timeout` seconds.

    Opened non-blocking for reading, a FIFO without a writer is silent until the first writer is gone (POLLHUP): a
    container that never starts can't be mistaken for one that has ended. The wrapper writes a line as soon as it has
    the FIFO open; that this was read is what tells a container that hangs from one that never started.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    started = False
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    def readable() -> None:
        nonlocal started
        try:
            data = os.read(fd, 4096)
        except BlockingIOError:
            return
        started = True
        if not data and not ended.done():
            loop.remove_reader(fd)
            ended.set_result(None)

    loop.add_reader(fd, readable)
    try:
        async with asyncio.timeout(timeout):
            await ended
        return End.ENDED
    except TimeoutError:
        return End.STILL_RUNNING if started else End.NEVER_STARTED
    finally:
        loop.remove_reader(fd)
        os.close(fd)
