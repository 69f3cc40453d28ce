"""Logs go out as they grow, once and in order, whatever the connection does."""

import asyncio
import os
from pathlib import Path

from copr_operator.backend.settings import BackendSettings
from copr_operator.builder.agent.backend import Backend
from copr_operator.builder.agent.logs import END_OF_CUT_LOG, MAX_PATCH, LogSender, closing_of, tail
from copr_operator.builder.agent.pod import PodPaths
from copr_operator.core.wire import StepLimits
from tests.support.waiting import until
from tests.unit.builder.conftest import FakeBackend

NAME = "builder-live.log"


def sender_of(backend: Backend, paths: PodPaths, limit: int = 1024**3) -> LogSender:
    return LogSender(backend, paths.out_dir, NAME, limit)


async def test_a_growing_log_is_sent_piece_by_piece(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    log = paths.out_dir / NAME
    log.write_bytes(b"one\n")
    sender = sender_of(backend, paths)
    stop = asyncio.Event()
    follower = asyncio.create_task(sender.follow(stop))
    async with asyncio.timeout(5):
        await until(lambda: fake_backend.logs.get(NAME) == b"one\n")
    stop.set()
    await follower
    with log.open("ab") as file:
        file.write(b"two\n")
    await sender.finish()
    assert fake_backend.logs[NAME] == b"one\ntwo\n"


async def test_a_large_log_is_sent_whole_in_bounded_pieces(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    content = os.urandom(2 * MAX_PATCH + 17)
    (paths.out_dir / NAME).write_bytes(content)
    await sender_of(backend, paths).finish()
    assert fake_backend.logs[NAME] == content
    assert len(fake_backend.tokens) == 3


async def test_an_answer_that_was_lost_does_not_double_the_log(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    (paths.out_dir / NAME).write_bytes(b"one\ntwo\n")
    sender = sender_of(backend, paths)
    fake_backend.logs[NAME] = b"one\n"  # stored, but the answer never came: the sender still believes in 0
    await sender.finish()
    assert fake_backend.logs[NAME] == b"one\ntwo\n"


async def test_the_log_of_an_earlier_attempt_is_continued(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    fake_backend.logs[NAME] = b"a much longer log of the first attempt\n"
    (paths.out_dir / NAME).write_bytes(b"second\n")
    await sender_of(backend, paths).finish()
    assert fake_backend.logs[NAME] == b"a much longer log of the first attempt\nsecond\n"


async def test_a_log_over_the_limit_is_cut_says_so_and_keeps_its_end(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    (paths.out_dir / NAME).write_bytes(b"start\n" + b"x" * 100_000 + b"\nthe reason it failed\n")
    await sender_of(backend, paths, limit=1000).finish()
    sent = fake_backend.logs[NAME]
    assert sent.startswith(b"start\nxxx")
    assert b"[copr] the log has 100028 bytes; what follows the first 1000 was left out" in sent
    assert sent.endswith(b"the reason it failed\n")
    assert len(sent) < 1000 + 200 + END_OF_CUT_LOG


def test_the_end_of_a_log_that_is_cut_has_room_in_the_backend(tmp_path: Path) -> None:
    cut, largest = StepLimits(timeout=1, end_signal=1).max_log_bytes, BackendSettings(root=tmp_path).max_log_bytes
    with (tmp_path / "log").open("w+b") as log:
        log.truncate(10 * largest)
        assert cut + len(closing_of(log.fileno(), 10 * largest, cut)) <= largest


async def test_a_log_is_not_cut_before_its_end_is_known(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    (paths.out_dir / NAME).write_bytes(b"x" * 5000)
    sender = sender_of(backend, paths, limit=1000)
    await sender._send(at_end=False)
    await sender._send(at_end=False)
    assert fake_backend.logs[NAME] == b"x" * 1000


async def test_trouble_while_streaming_is_made_up_for_at_the_end(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    (paths.out_dir / NAME).write_bytes(b"one\n")
    sender = sender_of(backend, paths)
    fake_backend.faults = [(503, "busy")]
    stop = asyncio.Event()
    follower = asyncio.create_task(sender.follow(stop))
    async with asyncio.timeout(5):
        await until(lambda: not fake_backend.faults)
    stop.set()
    await follower
    await sender.finish()
    assert fake_backend.logs[NAME] == b"one\n"


async def test_a_log_that_does_not_exist_is_no_log(
    backend: Backend, fake_backend: FakeBackend, paths: PodPaths
) -> None:
    await sender_of(backend, paths).finish()
    assert fake_backend.logs == {}


def test_the_tail_has_whole_lines(paths: PodPaths) -> None:
    (paths.out_dir / NAME).write_bytes(b"first line\nsecond\nthird\n")
    assert tail(paths.out_dir, NAME, 12) == "third\n"
    assert tail(paths.out_dir, NAME, 1000) == "first line\nsecond\nthird\n"


def test_the_tail_of_one_endless_line_is_its_end(paths: PodPaths) -> None:
    (paths.out_dir / NAME).write_bytes(b"x" * 100)
    assert tail(paths.out_dir, NAME, 10) == "x" * 10


def test_the_tail_of_bytes_that_are_no_text_is_text(paths: PodPaths) -> None:
    (paths.out_dir / NAME).write_bytes(b"\xff\xfe ok\n")
    assert tail(paths.out_dir, NAME, 100) == "�� ok\n"


def test_a_log_behind_a_link_has_no_tail(paths: PodPaths) -> None:
    (paths.out_dir / NAME).symlink_to("/etc/passwd")
    assert tail(paths.out_dir, NAME, 100) == ""
