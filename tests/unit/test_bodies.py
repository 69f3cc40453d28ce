"""Bodies are read in pieces, and never more, later or slower than they may be."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from copr_operator import bodies


class RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def request(pieces: Sequence[tuple[float, bytes]], *, length: str | None = None, cut: bool = False) -> Request:
    """Each piece after so many seconds."""
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"} if cut else {"type": "http.request", "body": b"", "more_body": False}
        wait, data = left.pop(0)
        await asyncio.sleep(wait)
        return {"type": "http.request", "body": data, "more_body": True}

    headers = [(b"content-length", length.encode())] if length is not None else []
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


async def read(*pieces: tuple[float, bytes], limit: int = 10**6, silence: float = 60, **how: Any) -> bytes:
    return await bodies.whole(request(pieces, **how), limit, silence, RefusedError)


async def test_a_body_is_what_was_sent() -> None:
    assert await read((0, b"one"), (0, b""), (0, b"two")) == b"onetwo"
    assert await read() == b""


@pytest.mark.parametrize("length", ["11", "9" * 30, None])
async def test_one_that_is_too_large_is_refused_whether_it_says_so_or_not(length: str | None) -> None:
    if length == "9" * 30:  # no number that anybody means: what counts is what comes
        assert await read((0, b"x" * 10), limit=10, length=length) == b"x" * 10
    with pytest.raises(RefusedError, match="larger than 10 bytes") as refused:
        await read((0, b"x" * 6), (0, b"x" * 6), limit=10, length=length)
    assert refused.value.status == 413


@pytest.mark.looptime
async def test_silence_ends_it() -> None:
    with pytest.raises(RefusedError, match="Nothing arrived for 60 seconds") as refused:
        await read((0, b"x"), (61, b"y"))
    assert refused.value.status == 408
    assert asyncio.get_running_loop().time() == pytest.approx(60)


@pytest.mark.looptime
async def test_byte_by_byte_it_is_not_read_for_ever() -> None:
    with pytest.raises(RefusedError, match="too slowly") as refused:
        await read(*((10, b"x") for _ in range(100)))
    assert refused.value.status == 408
    assert asyncio.get_running_loop().time() == pytest.approx(60, abs=1)


@pytest.mark.looptime
async def test_a_slow_but_honest_line_is_waited_for() -> None:
    assert len(await read(*((10, b"x" * 10240) for _ in range(60)))) == 614400
    assert asyncio.get_running_loop().time() == pytest.approx(600)


@pytest.mark.looptime
async def test_what_the_reader_takes_is_not_the_clients_fault() -> None:
    async for _ in bodies.pieces(request([(0, b"x")] * 10), 100, 60, RefusedError):
        await asyncio.sleep(30)


async def test_a_body_that_is_cut_is_an_error() -> None:
    with pytest.raises(ClientDisconnect):
        await read((0, b"x"), cut=True)
