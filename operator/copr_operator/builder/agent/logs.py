"""Sending logs while they grow. A log is cut at a limit, and says so, with its last lines kept."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from copr_operator.builder.agent.backend import Backend
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.plainfiles import open_directory, open_plain
from copr_operator.builder.agent.pod import say

INTERVAL = 0.5
"""Seconds between two PATCHes of a growing log."""
MAX_PATCH = 512 * 1024
"""Bytes of one PATCH."""
END_OF_CUT_LOG = 16 * 1024
"""Bytes of the end that are kept of a log that is cut."""


@dataclass(frozen=True)
class LogText:
    """A log as it is sent: the file up to `limit`; once it has ended, what is longer continues with `closing`."""

    fd: int
    size: int
    limit: int
    closing: bytes = b""

    @property
    def end(self) -> int:
        return min(self.size, self.limit) + len(self.closing)

    def read(self, position: int) -> bytes:
        if position < min(self.size, self.limit):
            return os.pread(self.fd, min(MAX_PATCH, min(self.size, self.limit) - position), position)
        start = position - min(self.size, self.limit)
        return self.closing[start : start + MAX_PATCH]


def closing_of(fd: int, size: int, limit: int) -> bytes:
    """What follows a log that is cut at `limit`: that it was cut, and how it ended."""
    if size <= limit:
        return b""
    note = f"\n[copr] the log has {size} bytes; what follows the first {limit} was left out. It ended so:\n"
    kept = min(END_OF_CUT_LOG, size - limit)
    return note.encode() + os.pread(fd, kept, size - kept)


@dataclass
class LogSender:
    """One log below `out_dir` on its way to the backend. Only ever appends, from where the backend says it is."""

    backend: Backend
    out_dir: Path
    name: str
    limit: int
    position: int = 0
    """Bytes of this log that the backend has."""
    base: int = 0
    """Bytes that the backend's log had before it (from an earlier attempt)."""

    async def follow(self, stop: asyncio.Event) -> None:
        """Sends what is there about twice a second until `stop`. Troubles are for `finish`: they never end a build."""
        pause = INTERVAL
        while not stop.is_set():
            try:
                await self._send(at_end=False)
                pause = INTERVAL
            except AgentError as failure:
                pause = min(pause * 2, 15.0)
                say(f"{self.name} is late: {failure}")
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue

    async def finish(self) -> None:
        """Sends the rest, with the whole budget of the backend. A log that is not there (or no plain file) is none."""
        await self._send(at_end=True)

    async def _send(self, at_end: bool) -> None:
        with open_directory(self.out_dir) as directory:
            if self.name not in os.listdir(directory):
                return
            with open_plain(directory, self.name) as fd:
                size = os.fstat(fd).st_size
                closing = closing_of(fd, size, self.limit) if at_end else b""
                text = LogText(fd, size, self.limit, closing)
                while data := text.read(self.position):
                    await self._append(data, text.end, budget=None if at_end else 0.0)
                    if not at_end:
                        return

    async def _append(self, data: bytes, end: int, budget: float | None) -> None:
        expected = self.base + self.position + len(data)
        size = await self.backend.append_log(self.name, self.base + self.position, data, budget)
        if size == expected or self.base <= size <= self.base + end:
            self.position = size - self.base
        else:
            # Not ours: an earlier attempt's log, which this one follows.
            self.base = size - self.position


def tail(out_dir: Path, name: str, limit: int) -> str:
    """The log's last whole lines, at most `limit` bytes of them; empty when there is no log."""
    try:
        with open_directory(out_dir) as directory, open_plain(directory, name) as fd:
            size = os.fstat(fd).st_size
            start = max(0, size - limit)
            data = os.pread(fd, limit, start)
    except AgentError:
        return ""
    if start and b"\n" in data:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")
