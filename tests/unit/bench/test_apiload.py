"""The load generator: it counts whole answers, keeps what was refused, and stops when it should."""

import asyncio
import itertools
from collections.abc import Iterable

from tests.bench.api import Answers, Loads, figures
from tests.bench.apiload import Load, gets, lists, run


async def served(answers: Iterable[bytes], load: Load, clients: int = 2) -> int:
    """How many requests came, when each is answered by the next of `answers`, in pieces of three bytes."""
    came = 0
    left = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        while await reader.readuntil(b"\r\n\r\n"):
            came += 1
            answer = next(left)
            for start in range(0, len(answer), 3):
                writer.write(answer[start : start + 3])
                await writer.drain()

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    async with server:
        await run(server.sockets[0].getsockname()[1], clients, load)
    return came


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_each_request_is_answered_before_the_next_is_sent() -> None:
    load = Load(gets(10), 7, 60)
    assert await served(itertools.repeat(OK), load) == 7
    assert (len(load.times), load.refused) == (7, [])


async def test_what_is_refused_is_kept() -> None:
    load = Load(gets(10), 3, 60)
    await served(itertools.repeat(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), load, 1)
    assert (len(load.times), len(load.refused)) == (3, 3)


async def test_it_ends_with_the_time() -> None:
    assert await served(itertools.repeat(OK), Load(gets(10), 10**9, 0)) == 0


def test_lists_go_through_all_pages_and_begin_anew() -> None:
    first = [request.partition(b"offset=")[2].split()[0] for request in itertools.islice(lists(250), 4)]
    assert first == [b"0", b"100", b"200", b"0"]


def test_only_what_the_target_is_about_is_judged() -> None:
    answers = {(kind, clients): Answers(2.0, [0.01] * 4000, 1.0)
               for kind in ("get", "list", "create") for clients in (1, 8, 32)}  # fmt: skip
    found = figures(Loads(500, answers, 80.0))
    judged = {one.name: one.ok for one in found if one.target is not None}
    assert judged == {
        "gets of a build, 8 clients": True, "gets of a build, 8 clients, p99": True,
        "lists of 100 of 500 builds, 8 clients": True, "lists of 100 of 500 builds, 8 clients, p99": True,
    }  # fmt: skip
    assert next(one.value for one in found if one.unit == "CPU ms") == 0.25
