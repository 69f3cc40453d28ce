"""RPMs are read in processes of their own."""

import asyncio
import errno
import io
import json
import struct
import sys
from pathlib import Path

import createrepo_c
import pytest

from copr_operator.backend import inspector, rpmworker
from copr_operator.backend.errors import RefusedError, UnreadableError
from copr_operator.backend.inspector import WorkerPool
from copr_operator.backend.rpmheader import HeaderError, read_header
from copr_operator.backend.rpmworker import read_rpm
from tests.unit.backend import rpms

CRASHES = "import os, sys; sys.stdin.buffer.read(4); os.abort()"
HANGS = "import time, sys; sys.stdin.buffer.read(4); time.sleep(3600)"
BABBLES = "import sys; sys.stdout.write('no frame at all'); sys.stdout.flush(); sys.stdin.buffer.read()"


def pool(program: str | None = None, timeout: float = 60, workers: int = 1) -> WorkerPool:
    command = (sys.executable, "-c", program) if program else ()
    return WorkerPool(workers, timeout=timeout, max_header_bytes=2**26, command=command)


async def test_a_real_worker_reads_one_rpm_after_the_other(tmp_path: Path) -> None:
    path = rpms.write(tmp_path, epoch=1, files=["/usr/bin/hello"])
    workers = pool()
    first = await workers.inspect(path, "d/x.rpm")
    second = await workers.inspect(path, "e/x.rpm")
    bad = tmp_path / "bad.rpm"
    bad.write_bytes(b"#!/bin/sh\n" * 50)
    with pytest.raises(RefusedError, match=r"bad\.rpm: not an RPM"):
        await workers.inspect(bad, "d/bad.rpm")
    third = await workers.inspect(path, "d/x.rpm")
    await workers.close()
    assert (first.evr, first.file_name) == ("1:1.0-1", "hello-1.0-1.x86_64.rpm")
    assert '<location href="d/x.rpm"/>' in first.chunks[0]
    assert '<location href="e/x.rpm"/>' in second.chunks[0]
    assert third == first
    assert workers.deaths == 0


@pytest.mark.parametrize("program", [CRASHES, BABBLES])
async def test_a_file_that_two_workers_die_of_costs_no_other_file(tmp_path: Path, program: str) -> None:
    path = rpms.write(tmp_path)
    workers = pool(program, workers=2)
    answers = await asyncio.gather(*(workers.inspect(path, f"d/{n}.rpm") for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnreadableError] * 3
    assert str(answers[0]) == "0.rpm: reading its header ends the program that reads it"
    assert [answer.deadly for answer in answers if isinstance(answer, UnreadableError)] == [True] * 3
    assert workers.deaths == 6
    await workers.close()


async def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    workers = pool(HANGS, timeout=0.2)
    with pytest.raises(UnreadableError, match="takes too long") as raised:
        await workers.inspect(rpms.write(tmp_path), "d/x.rpm")
    assert raised.value.deadly
    await workers.close()


async def test_what_one_worker_dies_of_the_next_may_read(tmp_path: Path) -> None:
    marker = tmp_path / "has-died"
    workers = pool(
        f"import os, pathlib; marker = pathlib.Path({str(marker)!r})\n"
        "if not marker.exists(): marker.touch(); os.abort()\n"
        "from copr_operator.backend.rpmworker import main; main()"
    )
    assert (await workers.inspect(rpms.write(tmp_path), "d/x.rpm")).name == "hello"
    assert (workers.deaths, len(workers._idle)) == (1, 1)
    await workers.close()


async def test_a_file_the_disk_does_not_give_is_not_called_a_bad_one(tmp_path: Path) -> None:
    workers = pool()
    with pytest.raises(UnreadableError, match=r"x\.rpm: it can't be read: .*No such file") as raised:
        await workers.inspect(tmp_path / "gone.rpm", "d/x.rpm")
    assert (raised.value.deadly, workers.deaths, workers._idle) == (False, 0, [])
    await workers.close()


def test_a_disk_that_fails_under_librpm_is_told_from_a_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"path": str(rpms.write(tmp_path)), "href": "d/x.rpm", "max_header_bytes": 2**26}

    def bad(*_what: object, **_more: object) -> None:
        raise createrepo_c.CreaterepoCError("rpmReadPackageFile() error")

    def failing(_path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(createrepo_c, "package_from_rpm", bad)
    assert rpmworker.answer(request) == {"error": "rpmReadPackageFile() error"}
    monkeypatch.setattr(rpmworker, "_read_through", failing)
    assert rpmworker.answer(request) == {"unreadable": "[Errno 5] Input/output error", "memory": False}


def test_a_worker_without_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(*_what: object) -> None:
        raise MemoryError

    monkeypatch.setattr(rpmworker, "read_rpm", hungry)
    answer = rpmworker.answer({"path": "x", "href": "x", "max_header_bytes": 1})
    assert answer == {"unreadable": "that takes too much memory", "memory": True}


def kernel_headers(count: int) -> list[str]:
    stem = "/usr/src/kernels/6.17.1-300.fc43.x86_64/include/linux"
    return [f"{stem}/dir{number // 100}/some-header-file-{number}.h" for number in range(count)]


async def test_a_package_of_very_many_files_is_read_and_its_worker_ended_so_that_its_memory_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspector, "LARGE_ANSWER", 8 * 2**20)
    workers = pool()
    await workers.inspect(rpms.write(tmp_path, files=kernel_headers(1000)), "d/x.rpm")
    assert len(workers._idle) == 1, "such a one is kept"
    found = await workers.inspect(rpms.write(tmp_path, files=kernel_headers(100_000)), "d/x.rpm")
    assert found.chunks[1].count("<file>") == 100_000
    assert (workers._idle, workers.deaths) == ([], 0)
    await workers.close()


async def test_a_small_package_of_huge_metadata_is_refused_before_that_is_made(tmp_path: Path) -> None:
    path = rpms.write(tmp_path, files=[f"/usr/{'d' * 20_000}/{number}" for number in range(20_000)])
    assert path.stat().st_size < 2**20
    workers = pool()
    with pytest.raises(RefusedError, match=r"x\.rpm: its list of files takes 400\d{6} bytes; at most 67108864 are"):
        await workers.inspect(path, "d/x.rpm")
    assert (len(workers._idle), workers.deaths) == (1, 0)
    await workers.close()


def test_escapes_can_not_take_the_metadata_over_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rpms.write(tmp_path, files=[f"/usr/{'&' * 1000}"])
    monkeypatch.setattr(rpmworker, "MAX_METADATA", 4000)
    with pytest.raises(HeaderError, match="its metadata takes more than 4000 bytes"):
        read_rpm(str(path), "d/x.rpm", 2**26)


def test_an_answer_over_its_limit_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpmworker, "MAX_ANSWER", 1000)
    request = json.dumps({"path": str(rpms.write(tmp_path)), "href": "d/x.rpm", "max_header_bytes": 2**26}).encode()
    answers = io.BytesIO()
    rpmworker.serve(io.BytesIO(struct.pack(">I", len(request)) + request), answers)
    assert json.loads(answers.getvalue()[4:]) == {"error": "its metadata takes too much room"}


def test_both_ends_agree_on_how_large_an_answer_may_be() -> None:
    assert rpmworker.MAX_ANSWER == inspector.MAX_ANSWER


async def test_a_request_that_is_given_up_leaves_no_worker_with_half_an_answer(tmp_path: Path) -> None:
    path = rpms.write(tmp_path)
    workers = pool(HANGS)
    task = asyncio.create_task(workers.inspect(path, "d/x.rpm"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert workers._idle == []


def test_control_characters_can_not_break_the_metadata_of_others(tmp_path: Path) -> None:
    for text in ("a\x01b", "]]><package>", "</description></package><package>", "a & b < c", "\x0b\x0c\x1b"):
        path = rpms.write(tmp_path, extra=[(1005, rpms.I18N, text), (1014, rpms.STRING, text)], files=["/a\x02b"])
        try:
            chunks = read_rpm(str(path), "d/x.rpm", 2**26)["chunks"]
        except HeaderError:
            continue
        assert [chunk.count("<package ") for chunk in chunks] == [1, 1, 1]


def test_a_header_that_two_readers_understand_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rpms.write(tmp_path)
    other = read_header(io.BytesIO(rpms.rpm("other")))
    monkeypatch.setattr(rpmworker, "read_header", lambda _file, *_limits: other)
    with pytest.raises(HeaderError, match="disagree"):
        read_rpm(str(path), "d/x.rpm", 2**26)
