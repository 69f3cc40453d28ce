"""What the backend is asked about results, and what is remembered of its answers until their object is gone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from copr_operator.controller.backend import BackendAwayError, BackendClient, BackendError
from copr_operator.core.config import OperatorConfig
from copr_operator.core.observed import BuildView, Observed, ProjectView
from copr_operator.core.wire import CopiedBuild, CopyBuildRequest, ProjectRequest, RemoveBuildRequest, TakeSrpmRequest

log = logging.getLogger(__name__)


@dataclass
class _Note:
    message: str
    until: float


_AWAY = ""
"""In place of a uid: what is to be said of the backend itself."""
PLACES = 10_000
"""Repositories that are known to be there: some MiB."""
QUESTIONS = 8
"""To the backend at the same time."""
PATIENCE = 1.0
"""Seconds that a question waits for others to be answered. Its object comes again later: it keeps a worker, and those
are needed for builds that run."""


class Notes:
    """What went wrong with an object, for as long as that counts."""

    def __init__(self) -> None:
        self._notes: dict[str, _Note] = {}

    def note(self, uid: str, message: str, seconds: float) -> None:
        self._notes[uid] = _Note(message, asyncio.get_running_loop().time() + seconds)

    def of(self, uid: str) -> str:
        note = self._notes.get(uid)
        return note.message if note is not None and asyncio.get_running_loop().time() < note.until else ""

    def left(self, uid: str) -> float:
        """Seconds for which it still counts; not positive when it does not."""
        note = self._notes.get(uid)
        return note.until - asyncio.get_running_loop().time() if note is not None else 0.0

    def forget(self, uid: str) -> None:
        self._notes.pop(uid, None)


class Results:
    def __init__(self, backend: BackendClient, config: OperatorConfig, questions: int = QUESTIONS) -> None:
        self._backend = backend
        self._config = config
        self._turns = asyncio.Semaphore(questions)
        self._answered = float("-inf")
        """When the backend last did what it was asked for, in loop time."""
        self.removed: set[str] = set()
        """uids of builds and projects that the backend has removed."""
        self.srpms: dict[str, str] = {}
        """By uid of a rerun: what the backend said of its SRPM (Observed.srpm_taken)."""
        self.copied: dict[str, CopiedBuild] = {}
        """By build uid: what the backend took over for it."""
        self.ensured: dict[str, set[str]] = {}
        """By project uid: chroots whose repository is there."""
        self.private: dict[str, bool] = {}
        """By project uid: what the backend was told last."""
        self.directories: set[tuple[str, str, str]] = set()
        """(owner, dirname, chroot) whose repository is there; PLACES at most. A project's status is no proof: the store
        may have come from an older backup since, and a build that finds no repository of its own project fails."""
        self._notes = Notes()

    def message(self, uid: str) -> str:
        """Why the backend did not do what it was last asked for an object; empty: it did, or that is long ago."""
        return self._notes.of(uid)

    def again(self, uid: str) -> float | None:
        """Seconds after which it is to be asked again for an object; None: that does not wait for the backend."""
        left = self._notes.left(uid)
        return left if left > 0 else None

    def failed(self, uid: str, error: BackendError) -> None:
        """Has the object wait as long as everybody does: what is due when the backend is back is not late."""
        away = self._notes.left(_AWAY)
        self._notes.note(uid, str(error)[:400], away if away > 0 else self._config.deadlines.backend_retry)

    @asynccontextmanager
    async def _question(self) -> AsyncIterator[None]:
        """Around each question. Whoever asks a backend that is away waits long, and keeps a worker: the first one tells
        all others, and no more than so many find out at the same time. Raises BackendError."""
        await self._turn()
        asked = asyncio.get_running_loop().time()
        try:
            yield
        except BackendError as error:
            log.warning("the backend did not do what was asked: %s", error)
            # One that has answered others meanwhile is not away: what it was asked for takes long.
            if isinstance(error, BackendAwayError) and self._answered < asked:
                self._notes.note(_AWAY, str(error)[:400], self._config.deadlines.backend_retry)
            raise
        else:
            self._answered = asyncio.get_running_loop().time()
            self._notes.forget(_AWAY)
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        if away := self._notes.of(_AWAY):
            raise BackendAwayError(away)
        try:
            async with asyncio.timeout(PATIENCE if self._turns.locked() else None):
                await self._turns.acquire()
        except TimeoutError as error:
            raise BackendAwayError("the backend has not answered others yet that were asked before") from error
        if away := self._notes.of(_AWAY):  # somebody has found out meanwhile
            self._turns.release()
            raise BackendAwayError(away)

    def forget(self, uid: str) -> None:
        self.removed.discard(uid)
        self.srpms.pop(uid, None)
        self.copied.pop(uid, None)
        self.ensured.pop(uid, None)
        self.private.pop(uid, None)
        self._notes.forget(uid)

    # -- builds ----------------------------------------------------------------------------------------------------

    async def ensure_directory(self, build: BuildView) -> None:
        try:
            for chroot in build.open_chroots:
                place = (build.spec.owner, build.dirname, chroot)
                if place not in self.directories:
                    async with self._question():
                        await self._backend.ensure_repository(*place)
                    self._is_there(place)
        except BackendError as error:
            self.failed(build.uid, error)

    async def take_srpm(self, observed: Observed) -> None:
        build, original = observed.build, observed.original
        source = original.status.source if original is not None else None
        assert build.status.id is not None and original is not None  # noqa: S101, PT018 (core.reruns has seen both)
        assert source is not None and source.srpm is not None  # noqa: S101, PT018 (the same)
        request = TakeSrpmRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            of_build=original.status.id or 0,
            name=source.srpm.url.rpartition("/")[2],
            sha256=source.srpm.sha256,
        )
        try:
            async with self._question():
                self.srpms[build.uid] = await self._backend.take_srpm(build.status.id, request)
        except BackendError as error:
            self.failed(build.uid, error)

    async def copy(self, build: BuildView) -> None:
        origin = build.spec.forked_from
        assert origin is not None and build.status.id is not None  # noqa: S101, PT018 (plans ask for it with both only)
        request = CopyBuildRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            namespace=build.namespace,
            chroots=build.open_chroots,
            from_owner=origin.owner,
            from_dirname=origin.project_dirname,
            from_id=origin.id,
        )
        try:
            async with self._question():
                self.copied[build.uid] = await self._backend.copy_build(build.status.id, request)
        except BackendError as error:
            self.failed(build.uid, error)

    async def remove(self, build: BuildView) -> None:
        assert build.status.id is not None  # noqa: S101 (plans ask for it with an id only)
        source = build.status.source
        request = RemoveBuildRequest(
            owner=build.spec.owner,
            dirname=build.dirname,
            chroots=tuple(chroot.name for chroot in build.status.chroots),
            package=source.package.name if source is not None and source.package is not None else None,
        )
        try:
            async with self._question():
                await self._backend.remove_build(build.status.id, request)
        except BackendError as error:
            self.failed(build.uid, error)
        else:
            self.removed.add(build.uid)

    # -- projects: these raise BackendError ------------------------------------------------------------------------

    async def set_privacy(self, project: ProjectView, private: bool) -> None:
        request = ProjectRequest(private=private, namespace=project.namespace)
        async with self._question():
            await self._backend.set_privacy(project.spec.owner, project.spec.name, request)
        self.private[project.uid] = private

    async def ensure_repository(self, project: ProjectView, chroot: str) -> None:
        async with self._question():
            await self._backend.ensure_repository(project.spec.owner, project.spec.name, chroot)
        self.ensured.setdefault(project.uid, set()).add(chroot)
        self._is_there((project.spec.owner, project.spec.name, chroot))

    def _is_there(self, place: tuple[str, str, str]) -> None:
        """Each pull request has a directory of its own, and nobody says that it is over: now and then all is forgotten,
        and asked for again where it is needed."""
        if len(self.directories) >= PLACES:
            self.directories.clear()
        self.directories.add(place)

    async def remove_project(self, project: ProjectView) -> None:
        async with self._question():
            await self._backend.remove_project(project.spec.owner, project.spec.name)
        self.removed.add(project.uid)
        # The same name may be made anew while builds of it still wait: what is there for them is asked for again.
        self.srpms.clear()
        self.copied.clear()
        self.directories = {place for place in self.directories if not _is_in(place, project)}


def _is_in(place: tuple[str, str, str], project: ProjectView) -> bool:
    """Whether this (owner, dirname, chroot) is in one of the project's directories."""
    return (place[0], place[1].partition(":")[0]) == (project.spec.owner, project.spec.name)
