"""Reading RPMs in worker processes: one crash or hang costs one file, not the backend."""

import asyncio
import json
import logging
import os
import struct
import sys
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from copr_operator.backend.errors import RefusedError, UnreadableError

logger = logging.getLogger(__name__)

MAX_ANSWER = 128 * 1024**2
"""Most bytes of an answer, as in rpmworker: no worker is believed more, a hostile file may have taken it over."""
LARGE_ANSWER = 16 * 1024**2
"""A worker that gave a larger one is ended: what it took for that stays its own as long as it lives."""


class RpmFile(BaseModel):
    """What one RPM is, and its part of the repository metadata."""

    model_config = ConfigDict(frozen=True)

    name: str
    epoch: int | None
    version: str
    release: str
    arch: str
    sourcerpm: str
    exclusive_arch: tuple[str, ...] = ()
    exclude_arch: tuple[str, ...] = ()
    build_arch: tuple[str, ...] = ()
    sha256: str
    """Of the whole file; also its pkgid."""
    size: int
    chunks: tuple[str, str, str]
    """Its XML in primary, filelists and other."""

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"

    @property
    def evr(self) -> str:
        """`[epoch:]version-release`."""
        return f"{'' if self.epoch is None else f'{self.epoch}:'}{self.version}-{self.release}"


class Inspector(Protocol):
    async def inspect(self, path: Path, href: str) -> RpmFile:
        """Raises RefusedError (ResultsRefused) naming the file when it is no good RPM, UnreadableError when that can't
        be found out now."""


class WorkerDiedError(Exception):
    """The worker ended, or had to be ended, before it answered."""


class WorkerPool:
    """Up to `workers` processes, started when needed, each reading one RPM at a time."""

    def __init__(self, workers: int, *, timeout: float, max_header_bytes: int, command: tuple[str, ...] = ()) -> None:
        self._command = command or (sys.executable, "-m", "copr_operator.backend.rpmworker")
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[asyncio.subprocess.Process] = []
        self._timeout = timeout
        self._max_header_bytes = max_header_bytes
        self.deaths = 0

    async def inspect(self, path: Path, href: str) -> RpmFile:
        """What one worker can't read is given to another once: the first may have suffered from what was before."""
        name = href.rpartition("/")[2]
        request = {"path": str(path), "href": href, "max_header_bytes": self._max_header_bytes}
        async with self._slots:
            try:
                answer = await self._answer(name, request)
            except UnreadableError as first:
                logger.warning("%s; another worker tries", first.message)
                try:
                    answer = await self._answer(name, request)
                except UnreadableError as second:
                    raise UnreadableError(second.message, deadly=first.deadly and second.deadly) from None
        if "error" in answer:
            raise RefusedError("ResultsRefused", f"{name}: {answer['error']}")
        return RpmFile.model_validate(answer)

    async def _answer(self, name: str, request: dict[str, object]) -> dict[str, object]:
        """Of one worker, which lives on only when it was an easy one. Raises UnreadableError."""
        worker = self._idle.pop() if self._idle else await self._start()
        spent = True
        try:
            async with asyncio.timeout(self._timeout):
                data = await _ask(worker, json.dumps(request).encode())
            answer = _parsed(data)
            spent = len(data) > LARGE_ANSWER or "unreadable" in answer
        except (WorkerDiedError, TimeoutError) as error:
            self.deaths += 1
            how = "takes too long" if isinstance(error, TimeoutError) else "ends the program that reads it"
            raise UnreadableError(f"{name}: reading its header {how}", deadly=True) from None
        finally:
            if spent:
                await _end(worker)
            else:
                self._idle.append(worker)
        if "unreadable" in answer:
            message = f"{name}: it can't be read: {answer['unreadable']}"
            raise UnreadableError(message, deadly=answer.get("memory") is True)
        return answer

    async def close(self) -> None:
        while self._idle:
            await _end(self._idle.pop())

    async def _start(self) -> asyncio.subprocess.Process:
        # Nothing of the environment but what Python needs to find the package: no tokens, no addresses.
        keep = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG") if key in os.environ}
        pipe = asyncio.subprocess.PIPE
        null = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=null, env=keep)


async def _ask(worker: asyncio.subprocess.Process, request: bytes) -> bytes:
    if worker.stdin is None or worker.stdout is None:
        raise TypeError("the worker must be started with pipes")
    try:
        worker.stdin.write(struct.pack(">I", len(request)) + request)
        await worker.stdin.drain()
        (size,) = struct.unpack(">I", await worker.stdout.readexactly(4))
        if size > MAX_ANSWER:
            raise WorkerDiedError
        return await worker.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise WorkerDiedError from error


def _parsed(data: bytes) -> dict[str, object]:
    try:
        answer: dict[str, object] = json.loads(data)
    except ValueError as error:
        raise WorkerDiedError from error
    return answer


async def _end(worker: asyncio.subprocess.Process) -> None:
    """Kill and reap; closes the pipes."""
    if worker.returncode is None:
        worker.kill()
    if worker.stdin is not None:
        worker.stdin.close()
    await worker.wait()
