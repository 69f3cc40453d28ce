"""The end of a step: check what came, store it, publish it, and say so.

Everything can be repeated: files stay in the spool until the answer is stored durably, and storing and publishing the
same again changes nothing. So a pod that got no answer, or a backend that was killed, just starts `finish` again.
"""

import asyncio
import hashlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from copr_operator.backend import checks
from copr_operator.backend.errors import HttpError, RefusedError, UnreadableError
from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.identity import StepIdentity
from copr_operator.backend.inspector import Inspector, RpmFile
from copr_operator.backend.layout import REPODATA, RESULTS, RESULTS_JSON, SUCCESS, Repo, build_id_of
from copr_operator.backend.metadata import PackageEntry
from copr_operator.backend.metrics import Metrics
from copr_operator.backend.publisher import Publisher
from copr_operator.backend.settlement import Settlement
from copr_operator.backend.spool import Spool, StepSpool
from copr_operator.backend.store import Store
from copr_operator.backend.trash import Trash
from copr_operator.core.wire import ArtifactRef, FinishRequest, StepFailure, StepSummary

logger = logging.getLogger(__name__)

MAX_STEP_METADATA = 256 * 1024**2
"""Bytes of memory that the metadata of a step's packages may take: all of it is there until it is published."""
Look = Callable[[StepIdentity], Awaitable[StepIdentity]]
"""The same step by the CoprBuild as it is now (Identities.again)."""


class _CancelledError(Exception):
    """The step's results are not wanted any more."""


@dataclass(frozen=True)
class Limits:
    files: int
    """Most files of a step."""
    total: int
    """Bytes of all of them."""


class Ingest:
    def __init__(
        self,
        store: Store,
        spool: Spool,
        inspector: Inspector,
        publisher: Publisher,
        trash: Trash,
        guard: BuildGuard,
        settlement: Settlement,
        *,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._spool = spool
        self._inspector = inspector
        self._publisher = publisher
        self._trash = trash
        self._guard = guard
        self._settlement = settlement
        self._limits = limits
        self._metrics = metrics

    async def finish(self, who: StepIdentity, request: FinishRequest, look: Look) -> StepSummary:
        """Returns when all is stored and published, or with the reason why it was refused.

        `who` may be some seconds old. `look` is used once, as late as can be: reading RPMs takes up to minutes, and a
        build that was cancelled meanwhile must not be published.
        """
        async with self._guard.working(who.build_id, who.step):
            step = self._spool.step(who.build_id, who.step, who.attempt)
            answer = await asyncio.to_thread(lambda: step.answer)
            if answer is None:
                await asyncio.to_thread(self._spool.require, step)
                answer = await self._end(who, step, request, look)
                await asyncio.to_thread(self._spool.closed, step, who.result, answer)
            return answer

    def salvage(self, older_than: float) -> None:
        """Give up steps that nobody has touched since `older_than`; what they logged is kept, as for any other end."""
        abandoned = self._spool.abandoned(older_than)
        for step in abandoned:
            step.drop_files()  # first of all: logs are written anew, and the disk may be full
        for step in abandoned:
            try:
                self._give_up(step)
            except OSError:
                logger.exception("%s can't be given up; it is tried again", step.path)

    def _give_up(self, step: StepSpool) -> None:
        result = step.result
        if result is not None and step.answer is None and self._lacks_logs(step, result):
            self._store_logs(step, result)
        self._spool.drop(step)

    def _lacks_logs(self, step: StepSpool, result: str) -> bool:
        """Not when the logs there are those of a later attempt, or of a success."""
        if self._spool.superseded(step) or self._store.stat(f"{RESULTS}/{result}/{SUCCESS}") is not None:
            return False
        return self._store.stat(f"{RESULTS}/{_project_of(result)}") is not None

    async def _end(self, who: StepIdentity, step: StepSpool, request: FinishRequest, look: Look) -> StepSummary:
        if request.outcome == "failed":
            who = await look(who)
        await asyncio.to_thread(self._store_logs, step, who.result)
        if who.cancelled or request.outcome == "failed":
            self._metrics.finished.labels("cancelled" if who.cancelled else "failed").inc()
            return StepSummary(outcome="failed")
        try:
            end = self._source if who.chroot is None else self._rpms
            answer = await end(who, step, request, look)
        except _CancelledError:
            self._metrics.finished.labels("cancelled").inc()
            return StepSummary(outcome="failed")
        except RefusedError as refused:
            logger.info("%s refused: %s: %s", who.result, refused.reason, refused.message)
            self._metrics.finished.labels("refused").inc()
            self._metrics.refused.labels(refused.reason).inc()
            return StepSummary(outcome="failed", failure=StepFailure(reason=refused.reason, message=refused.message))
        self._metrics.finished.labels("succeeded").inc()
        return answer

    async def _source(self, who: StepIdentity, step: StepSpool, request: FinishRequest, look: Look) -> StepSummary:
        self._check_files(step, request.files)
        srpm, specs = checks.split_source(request.files)
        for spec in specs:
            await asyncio.to_thread(_check_checksum, step, spec)
        try:
            rpm = await self._read(step.files / srpm.name, srpm.name)
        except RefusedError as refused:
            raise RefusedError("SRPMInvalid", refused.message) from None
        _same_checksum(srpm, rpm.sha256)
        package = checks.check_srpm(srpm.name, rpm)
        await _still_wanted(who, look)
        await asyncio.to_thread(self._store_files, step, who.result, request.files, [rpm])
        await asyncio.to_thread(self._mark_success, who.result)
        return StepSummary(
            outcome="succeeded",
            package=package,
            srpm=ArtifactRef(name=srpm.name, sha256=rpm.sha256, size=rpm.size),
            exclusive_arch=rpm.exclusive_arch,
            exclude_arch=rpm.exclude_arch,
            build_arch=rpm.build_arch,
        )

    async def _rpms(self, who: StepIdentity, step: StepSpool, request: FinishRequest, look: Look) -> StepSummary:
        if who.chroot is None or who.package is None:
            raise HttpError(503, "the build's package is not known yet")
        repo = Repo.of(who.owner, who.dirname, who.chroot)
        if self._trash.holds_repo(repo):
            raise RefusedError("ResultsRefused", f"{repo.path} is being removed")
        directory = who.result.rpartition("/")[2]
        with self._publisher.arriving(repo):
            self._check_files(step, request.files)
            packages, spec = checks.split_rpms(request.files)
            for file in spec:
                await asyncio.to_thread(_check_checksum, step, file)
            rpms = await self._inspect(step, directory, packages)
            checks.check_rpms([(name, rpm) for name, rpm in rpms.items()], who.chroot, who.package)
            entries = [PackageEntry(f"{directory}/{name}", rpm.sha256, rpm.chunks) for name, rpm in rpms.items()]
            await _still_wanted(who, look)
            await self._withdraw_changed(repo, directory, entries)
            await asyncio.to_thread(self._store_files, step, who.result, request.files, list(rpms.values()))
            await asyncio.to_thread(self._settlement.expect, who)
        await self._publisher.publish(repo, {directory: entries})
        await asyncio.to_thread(self._mark_success, who.result)
        return StepSummary(outcome="succeeded", packages=len(rpms))

    def _check_files(self, step: StepSpool, files: Sequence[ArtifactRef]) -> None:
        checks.check_names(files, self._limits.files)
        total = 0
        for file in files:
            try:
                total += (step.files / file.name).lstat().st_size
            except FileNotFoundError:
                raise HttpError(422, f"{file.name} was not sent", "CollectFailed") from None
        if total > self._limits.total:
            raise RefusedError("ResultsRefused", f"{total} bytes; at most {self._limits.total} are accepted")

    async def _inspect(self, step: StepSpool, directory: str, files: Sequence[ArtifactRef]) -> dict[str, RpmFile]:
        found = await self._read_all(step, directory, files)
        for file, rpm in zip(files, found, strict=True):
            _same_checksum(file, rpm.sha256)
        return {file.name: rpm for file, rpm in zip(files, found, strict=True)}

    async def _read_all(self, step: StepSpool, directory: str, files: Sequence[ArtifactRef]) -> list[RpmFile]:
        """No more of them when one of them is refused."""
        taken = 0

        async def read(name: str) -> RpmFile:
            nonlocal taken
            rpm = await self._read(step.files / name, f"{directory}/{name}")
            taken += sum(sys.getsizeof(chunk) for chunk in rpm.chunks)
            if taken > MAX_STEP_METADATA:
                raise RefusedError(
                    "ResultsRefused", f"{name}: the packages' metadata takes more than {MAX_STEP_METADATA} bytes"
                )
            return rpm

        tasks = [asyncio.create_task(read(file.name)) for file in files]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, path: Path, href: str) -> RpmFile:
        """A file that strangers sent. When no reader survives it, it is refused, so as not to be tried for ever."""
        try:
            return await self._inspector.inspect(path, href)
        except UnreadableError as error:
            if not error.deadly:
                raise
            raise RefusedError("ResultsRefused", error.message) from None

    async def _withdraw_changed(self, repo: Repo, directory: str, entries: Sequence[PackageEntry]) -> None:
        """An earlier attempt may have been published without its pod hearing of it. Its files are about to be
        replaced by others of the same names, so they must not be listed while that happens."""
        listed = (await self._publisher.published(repo)).by_directory.get(directory, {})
        if listed and listed != {entry.href: entry.pkgid for entry in entries}:
            await self._publisher.publish(repo, {directory: []}, at_once=True)

    def _store_files(self, step: StepSpool, result: str, files: Sequence[ArtifactRef], rpms: Sequence[RpmFile]) -> None:
        target = f"{RESULTS}/{result}"
        self._store.delete(f"{target}/{SUCCESS}")
        wanted = {file.name for file in files}
        for entry in self._store.list(target):
            # what an earlier attempt left; logs stay, and are replaced by their names
            if entry.name not in wanted and not entry.name.endswith(".log.gz") and not entry.is_dir:
                self._store.delete(f"{target}/{entry.name}")
        for file in files:
            self._store.adopt(step.files / file.name, f"{target}/{file.name}")
        self._store.put(f"{target}/{RESULTS_JSON}", _json(checks.results_json(rpms)))

    def _mark_success(self, result: str) -> None:
        self._store.put(f"{RESULTS}/{result}/{SUCCESS}", b"done\n")

    def _store_logs(self, step: StepSpool, result: str) -> None:
        for name in step.log_names():
            self._store.adopt(step.packed_log(name), f"{RESULTS}/{result}/{name}.gz")


class RpmReader:
    """Reads repositories anew from their RPMs."""

    def __init__(self, store: Store, inspector: Inspector, trash: Trash) -> None:
        self._store = store
        self._inspector = inspector
        self._trash = trash

    async def everything(self, repo: Repo) -> dict[str, list[PackageEntry]]:
        """All packages of builds that succeeded and are not being removed, by result directory, but damaged ones.
        Raises UnreadableError."""
        found: dict[str, list[PackageEntry]] = {}
        for directory in await asyncio.to_thread(self._directories, repo):
            found[directory] = await self.directory(repo, directory)
        return found

    async def directory(self, repo: Repo, directory: str) -> list[PackageEntry]:
        """All packages of one build."""
        path = f"{repo.results}/{directory}"
        names = [entry.name for entry in await asyncio.to_thread(self._store.list, path)]
        rpms = [name for name in names if name.endswith(".rpm") and not name.startswith(".")]
        inspected = await asyncio.gather(*(self._read(path, directory, name) for name in rpms))
        return [entry for entry in inspected if entry is not None]

    async def _read(self, path: str, directory: str, name: str) -> PackageEntry | None:
        href = f"{directory}/{name}"
        try:
            rpm = await self.inspect(f"{path}/{name}", href)
        except RefusedError as refused:
            # It was good once. One damaged file must not keep the others from being listed; what just can't be read
            # now (UnreadableError) must not be lost, and makes the run fail.
            logger.error("%s/%s is left out of its repository: %s", path, name, refused.message)
            return None
        return PackageEntry(href, rpm.sha256, rpm.chunks)

    async def inspect(self, path: str, href: str) -> RpmFile:
        """A stored RPM. Raises RefusedError when it is damaged, UnreadableError when it can't be read now."""
        local = self._store.local(path)
        file = await asyncio.to_thread(local.__enter__)
        try:
            return await self._inspector.inspect(file, href)
        finally:
            await asyncio.to_thread(local.__exit__, None, None, None)

    def _directories(self, repo: Repo) -> list[str]:
        removed = self._trash.directories(repo)
        return [
            entry.name
            for entry in self._store.list(repo.results)
            if entry.is_dir
            and entry.name != REPODATA
            and build_id_of(entry.name) is not None
            and entry.name not in removed
            and self._store.stat(f"{repo.results}/{entry.name}/{SUCCESS}") is not None
        ]


async def _still_wanted(who: StepIdentity, look: Look) -> None:
    """Before anything is replaced. What is cancelled after this look is unlisted again (settlement.py)."""
    if (await look(who)).cancelled:
        raise _CancelledError


def _project_of(result: str) -> str:
    """`alice/demo` of a result directory: a project that is gone must not come back for a log."""
    return "/".join(result.split("/")[:2])


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _check_checksum(step: StepSpool, file: ArtifactRef) -> None:
    with (step.files / file.name).open("rb") as data:
        _same_checksum(file, hashlib.file_digest(data, "sha256").hexdigest())


def _same_checksum(file: ArtifactRef, sha256: str) -> None:
    if file.sha256 != sha256:
        raise RefusedError("ChecksumMismatch", f"{file.name}: its checksum is {sha256}, not {file.sha256[:64]}")
