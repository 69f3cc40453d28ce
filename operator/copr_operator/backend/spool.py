"""Files under way: what a step has sent and not finished yet, and its live logs.

```
<ID8>/<step>-<attempt>/step.json        result directory of the step
                       logs/<name>      appended to while the step runs
                       files/<name>     sent with PUT, whole
                       finished.json    the answer to `finish`, for when it is asked again
```
All of it survives a restart of the backend. Of an attempt that a later one of its step has taken the place of nothing
but step.json is left. Methods block, except those that take a body.
"""

import asyncio
import gzip
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from copr_operator.backend.errors import HttpError
from copr_operator.backend.store import Checkpoint, WriteStep, no_checkpoint
from copr_operator.core import names
from copr_operator.core.wire import ArtifactRef, StepSummary

_BUFFER = 1024**2


class StepSpool:
    """The files of one step's attempt."""

    def __init__(self, path: Path, checkpoint: Checkpoint = no_checkpoint) -> None:
        self.path = path
        self._checkpoint = checkpoint
        self.files = path / "files"
        self.logs = path / "logs"

    def open(self, result: str) -> None:
        """Make it ready for files that belong to the result directory `result`. Repeatable."""
        self.files.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        if not (self.path / "step.json").exists():
            _write(self.path / "step.json", json.dumps({"result": result}).encode(), self._checkpoint)

    @property
    def result(self) -> str | None:
        with suppress(FileNotFoundError, ValueError):
            return str(json.loads((self.path / "step.json").read_bytes())["result"])
        return None

    @property
    def answer(self) -> StepSummary | None:
        """What `finish` was answered."""
        with suppress(FileNotFoundError):
            return StepSummary.model_validate_json((self.path / "finished.json").read_bytes())
        return None

    def close(self, answer: StepSummary) -> None:
        """Keep the answer, drop the files."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / "finished.json", answer.model_dump_json().encode(), self._checkpoint)
        self.empty()

    def empty(self) -> None:
        """Drop the files and the logs. What is still arriving is refused, see `receive`."""
        self.drop_files()
        shutil.rmtree(self.logs, ignore_errors=True)

    def drop_files(self) -> None:
        shutil.rmtree(self.files, ignore_errors=True)

    def used(self) -> tuple[int, int]:
        """Number and bytes of the files sent so far, also of those still being received."""
        with suppress(FileNotFoundError):
            sizes = [entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.files)]
            return len(sizes), sum(sizes)
        return 0, 0

    def size(self, name: str) -> int | None:
        """Bytes of a file that was sent; None when it was not."""
        with suppress(FileNotFoundError):
            return (self.files / name).stat().st_size
        return None

    def log_names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(self.logs) if entry.name.endswith(".log"))
        return []

    def log_size(self, name: str) -> int:
        with suppress(FileNotFoundError):
            return (self.logs / name).stat().st_size
        return 0

    def packed_log(self, name: str) -> Path:
        """The log as a gzip file (always the same for the same log). Never written in place: the one of an earlier
        `finish` is the same file as the published log, and as those of its forks, where adopting is a hard link."""
        packed = self.logs / f"{name}.gz"
        part = self.logs / f".part-{secrets.token_hex(8)}.gz"
        try:
            with (self.logs / name).open("rb") as source, part.open("xb") as target:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0) as zipped:
                    shutil.copyfileobj(source, zipped, _BUFFER)
                target.flush()
                os.fsync(target.fileno())
            part.rename(packed)
        finally:
            part.unlink(missing_ok=True)
        return packed

    async def receive(self, name: str, body: AsyncIterator[bytes], sha256: str | None) -> ArtifactRef:
        """Store a body under `name`, whole or not at all. Raises HttpError 422 when its checksum is another, 410 when
        the attempt has ended meanwhile."""
        with _ended_meanwhile():
            return await receive(self.files / name, body, sha256, self._checkpoint)

    async def receive_log(self, name: str, body: AsyncIterator[bytes], sha256: str | None) -> ArtifactRef:
        """Like `receive`, for a log that is sent at the end instead of as it grows."""
        with _ended_meanwhile():
            return await receive(self.logs / name, body, sha256, self._checkpoint)

    async def append(self, name: str, body: AsyncIterator[bytes]) -> int:
        """Append a body to a log as it comes; its new size. What came before a broken connection stays."""
        with _ended_meanwhile(), (self.logs / name).open("ab") as file:
            async for data in _buffered(body):
                await asyncio.to_thread(_write_through, file.fileno(), data)
        return self.log_size(name)


class Spool:
    """All steps under way. `checkpoint` is called between the steps of every write but those of logs that grow."""

    def __init__(self, root: Path, checkpoint: Checkpoint = no_checkpoint) -> None:
        self.root = root
        self._checkpoint = checkpoint
        root.mkdir(parents=True, exist_ok=True)
        self._live: dict[str, StepSpool] = {}
        self._opening = threading.Lock()
        for step in sorted(self._steps(), key=_attempt):
            if step.answer is None and (result := step.result) is not None:
                self._live[result] = step

    def step(self, build_id: int, step: str, attempt: int) -> StepSpool:
        return StepSpool(self.root / names.build_dir(build_id) / f"{step}-{attempt}", self._checkpoint)

    def opened(self, step: StepSpool, result: str) -> None:
        """From now on the logs of `step` are the live logs of `result`, and what earlier attempts have sent is dropped:
        nothing may use it any more, and it would take room that this one needs. Raises HttpError 410, see `require`."""
        with self._opening:
            self.require(step)
            step.open(result)
            for other in self._attempts(step):
                if _attempt(other) < _attempt(step):
                    other.empty()
            self._live[result] = step

    def require(self, step: StepSpool) -> None:
        """Raises HttpError 410 when a later attempt of the step has begun: what the controller gave up may live on, on
        a node that can't be reached, and be known as the current attempt for some seconds more."""
        if self.superseded(step):
            raise HttpError(410, f"{step.path.name} was superseded by a later attempt")

    def superseded(self, step: StepSpool) -> bool:
        return any(_attempt(other) > _attempt(step) for other in self._attempts(step))

    def _attempts(self, step: StepSpool) -> list[StepSpool]:
        """All attempts of the same step, itself included."""
        name = step.path.name.rpartition("-")[0]
        found = (entry for entry in self._steps(step.path.parent.name) if entry.path.name.rpartition("-")[0] == name)
        return [entry for entry in found if _attempt(entry)]

    def closed(self, step: StepSpool, result: str, answer: StepSummary) -> None:
        step.close(answer)
        current = self._live.get(result)
        if current is not None and current.path == step.path:
            del self._live[result]

    def live_logs(self, result: str) -> list[str]:
        """Names of the logs that are being written for a result directory."""
        step = self._live.get(result)
        return step.log_names() if step else []

    def live_log(self, result: str, name: str) -> Path | None:
        step = self._live.get(result)
        return step.logs / name if step and name in step.log_names() else None

    def live_below(self, directory: str) -> set[str]:
        """Names directly below `directory` under which there are live logs."""
        prefix = f"{directory}/"
        return {result[len(prefix) :].partition("/")[0] for result in self._live if result.startswith(prefix)}

    def highest_id(self) -> int:
        return max((int(entry.name) for entry in os.scandir(self.root) if entry.name.isdigit()), default=0)

    def forget(self, build_id: int) -> None:
        """Drop all a build has here."""
        path = self.root / names.build_dir(build_id)
        self._live = {result: step for result, step in self._live.items() if step.path.parent != path}
        shutil.rmtree(path, ignore_errors=True)

    def forget_below(self, directory: str) -> None:
        """Drop all steps whose results belong below a directory."""
        for step in self._steps():
            if (step.result or "").startswith(f"{directory}/"):
                self.drop(step)

    def abandoned(self, older_than: float) -> list[StepSpool]:
        """Steps that were not touched since `older_than` (seconds since the epoch), earlier attempts first."""
        return sorted((step for step in self._steps() if _last_touched(step.path) < older_than), key=_attempt)

    def drop(self, step: StepSpool) -> None:
        self._live = {result: live for result, live in self._live.items() if live.path != step.path}
        shutil.rmtree(step.path, ignore_errors=True)
        with suppress(OSError):
            step.path.parent.rmdir()  # when it was the last step of its build

    def _steps(self, build: str = "[0-9]*") -> list[StepSpool]:
        return [StepSpool(path, self._checkpoint) for path in self.root.glob(f"{build}/*-*") if path.is_dir()]


async def receive(
    path: Path, body: AsyncIterator[bytes], sha256: str | None, checkpoint: Checkpoint = no_checkpoint
) -> ArtifactRef:
    """Write a body to `path` through a file of another name, durably. Raises HttpError 422 for another checksum, and
    FileNotFoundError when its directory is not there (any more)."""
    part = path.parent / f".part-{secrets.token_hex(8)}"
    digest = hashlib.sha256()
    size = 0
    try:
        with part.open("xb") as file:
            checkpoint(WriteStep.STAGE, str(path))
            async for data in _buffered(body):
                size += len(data)
                await asyncio.to_thread(_write_hashed, file.fileno(), data, digest)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise HttpError(422, f"{path.name} arrived with checksum {digest.hexdigest()}", "ChecksumMismatch")
            await asyncio.to_thread(os.fsync, file.fileno())
        checkpoint(WriteStep.STAGED, str(path))
        part.rename(path)
        checkpoint(WriteStep.RENAMED, str(path))
    finally:
        part.unlink(missing_ok=True)
    return ArtifactRef(name=path.name, sha256=digest.hexdigest(), size=size)


@contextmanager
def _ended_meanwhile() -> Iterator[None]:
    """The directory of a step's files goes when its attempt ends, whoever is still sending."""
    try:
        yield
    except FileNotFoundError:
        raise HttpError(410, "this step has ended") from None


async def _buffered(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pieces of about a MiB: fewer trips to a thread. On an error the pieces before it still come."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for data in body:
            pieces.append(data)
            size += len(data)
            if size >= _BUFFER:
                yield b"".join(pieces)
                pieces, size = [], 0
    except Exception:
        if pieces:
            yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def _write_hashed(descriptor: int, data: bytes, digest: "hashlib._Hash") -> None:
    _write_through(descriptor, data)
    digest.update(data)


def _write_through(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _write(path: Path, data: bytes, checkpoint: Checkpoint) -> None:
    part = path.parent / f".part-{secrets.token_hex(8)}"
    try:
        with part.open("xb") as file:
            checkpoint(WriteStep.STAGE, str(path))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        checkpoint(WriteStep.STAGED, str(path))
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    checkpoint(WriteStep.RENAMED, str(path))
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    checkpoint(WriteStep.STORED, str(path))


def _attempt(step: StepSpool) -> int:
    number = step.path.name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _last_touched(path: Path) -> float:
    """When a pod last sent something. Not told by directories and packed logs: they change when files are dropped and
    logs are stored, and giving a step up that failed halfway must be tried again soon."""
    times = []
    for directory, _directories, files in os.walk(path):
        for name in files:
            if not name.endswith(".gz"):
                with suppress(FileNotFoundError):
                    times.append(os.lstat(os.path.join(directory, name)).st_mtime)
    if not times:  # it is only just being made
        with suppress(FileNotFoundError):
            times.append(path.lstat().st_mtime)
    return max(times, default=0.0)
