"""Running git and svn: in an environment of our own, through the egress proxy, within limits of size and output."""

import asyncio
import contextlib
import errno
import os
import re
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from copr_operator.builder.agent.backend import Pauses
from copr_operator.builder.agent.errors import AgentError
from copr_operator.builder.agent.pod import say

_LINES_KEPT = 40
_LINE_LIMIT = 400
_LINES_SAID = 2000
_LOOK_EVERY = 0.5


MAX_TRIES = 5
PAUSES = Pauses(first=2.0, ceiling=20.0)
_TRANSIENT = re.compile(
    r"[Cc]ould not resolve|[Tt]emporary failure|[Cc]onnection (refused|reset|closed|timed out)|response 50\d"
    r"|error: (429|5\d\d)|early EOF|unexpected disconnect|[Tt]imed out|E000104|E000110|E000111|E120108"
)
"""What git, ssh and svn say when the server may answer better in a moment."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and the last lines it wrote."""

    code: int
    lines: tuple[str, ...]

    @property
    def last(self) -> str:
        """The line that most likely says why."""
        telling = [line for line in self.lines if line.startswith(("fatal:", "error:", "svn: E"))]
        return (telling or list(self.lines) or ["no output"])[-1]


@dataclass
class Toolbox:
    """`directory` may grow to `limit` bytes; `hidden` never appears in what is said or kept.

    `refused`: whether the rules have refused a host, which no patience changes.
    """

    directory: Path
    limit: int
    environment: Mapping[str, str]
    hidden: tuple[str, ...] = ()
    refused: Callable[[], bool] = lambda: False
    _said: int = field(default=0, init=False)

    async def run(self, *command: str, stdin: str | None = None, quiet: bool = False) -> Ended:
        """Runs to the end; killed with all its children when the directory is full or the caller is canceled."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.directory,
            env=dict(self.environment),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,  # what is cloned becomes the build user's, with the modes it would have there
        )
        try:
            async with self._within_limit(process):
                return await self._follow(process, stdin, quiet)
        finally:
            _kill(process)
            await process.wait()

    async def run_patiently(self, *command: str, stdin: str | None = None, quiet: bool = False) -> Ended:
        """`run`, again after a pause when the network or the server was at fault. The command must bear it."""
        for tries in range(MAX_TRIES):
            ended = await self.run(*command, stdin=stdin, quiet=quiet)
            transient = _TRANSIENT.search("\n".join(ended.lines)) is not None and not self.refused()
            if ended.code == 0 or not transient or tries + 1 == MAX_TRIES:
                break
            say(f"trying again (try {tries + 1} of {MAX_TRIES} failed)")
            await asyncio.sleep(PAUSES.after(tries))
        return ended

    async def _follow(self, process: asyncio.subprocess.Process, stdin: str | None, quiet: bool) -> Ended:
        assert process.stdout is not None  # noqa: S101 (asked for)
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        lines: deque[str] = deque(maxlen=_LINES_KEPT)
        rest = b""
        while chunk := await process.stdout.read(64 * 1024):
            *complete, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            rest = rest[-_LINE_LIMIT:]
            for line in complete:
                self._keep(line, lines, quiet)
        self._keep(rest, lines, quiet)
        return Ended(await process.wait(), tuple(lines))

    def _keep(self, line: bytes, lines: deque[str], quiet: bool) -> None:
        text = line[:_LINE_LIMIT].decode(errors="replace").strip()
        for secret in self.hidden:
            text = text.replace(secret, "***")
        if not text:
            return
        lines.append(text)
        self._said += not quiet
        if not quiet and self._said <= _LINES_SAID:
            say(text)

    @asynccontextmanager
    async def _within_limit(self, process: asyncio.subprocess.Process) -> AsyncIterator[None]:
        async def watch() -> None:
            try:
                while True:
                    await asyncio.sleep(_LOOK_EVERY)
                    await self._check_size()
            except Exception:
                _kill(process)  # whatever it is: what can't be measured may not grow
                raise

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if not watching.cancelled():
            watching.result()  # raises what it found
        await self._check_size()

    async def _check_size(self) -> None:
        try:
            size = await asyncio.to_thread(size_of, self.directory)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise AgentError("SourceRefused", "the source has a path of more than 4096 bytes") from error
        if size > self.limit:
            raise AgentError("SourceRefused", f"the source is larger than {self.limit} bytes")


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def size_of(directory: Path) -> int:
    """Bytes on disk of everything below; what vanishes meanwhile does not count."""
    total = 0
    todo = [os.fspath(directory)]
    while todo:
        with contextlib.suppress(FileNotFoundError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
    return total
