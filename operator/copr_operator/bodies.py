"""Bodies of requests as backend and frontend read them: in pieces, never more or slower than they may be."""

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request

SLOWEST = 1024
"""Bytes a second that a body must bring on average, beside the time that it may be silent: one that comes byte by byte
is never silent, and would hold its request for ever."""

Refuse = Callable[[int, str], Exception]
"""How the process says no: status (408, 413) and text -> its own error."""


def content_length(request: Request) -> int | None:
    """The announced length; None for a body without one, or with one that is no number."""
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


async def pieces(request: Request, limit: int, silence: float, refuse: Refuse) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises what `refuse` makes: 413 beyond `limit` bytes; 408 after `silence` seconds
    without any, or when the body comes slower than SLOWEST. Also starlette's ClientDisconnect when it is cut."""
    announced = content_length(request)
    if announced is not None and announced > limit:
        raise refuse(413, f"The request is larger than {limit} bytes.")
    loop = asyncio.get_running_loop()
    # What the reader of the pieces takes for them is not the client's fault.
    waited, received, stream = 0.0, 0, request.stream()
    while True:
        left, began = silence + received / SLOWEST - waited, loop.time()
        try:
            async with asyncio.timeout(min(silence, left)):
                data = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            text = f"Nothing arrived for {silence:.0f} seconds." if left >= silence else "The request comes too slowly."
            raise refuse(408, text) from None
        waited += loop.time() - began
        received += len(data)
        if received > limit:
            raise refuse(413, f"The request is larger than {limit} bytes.")
        yield data


async def whole(request: Request, limit: int, silence: float, refuse: Refuse) -> bytes:
    """A small body at once. Raises what `pieces` raises."""
    return b"".join([piece async for piece in pieces(request, limit, silence, refuse)])
