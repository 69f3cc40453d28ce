"""What the controller asks for: repositories, removals, the highest build id."""

import asyncio
import hashlib
import logging

from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.layout import RESULTS, Repo, belongs_to_project, build_id_of
from copr_operator.backend.privacy import Privacy
from copr_operator.backend.publisher import Publisher
from copr_operator.backend.spool import Spool
from copr_operator.backend.store import Store
from copr_operator.backend.trash import Trash, TrashEntry, TrashPart, chroots_of, result_directories
from copr_operator.core import names
from copr_operator.core.wire import ControlAnswer, ProjectRequest, RemoveBuildRequest, TakeSrpmRequest

logger = logging.getLogger(__name__)


class Control:
    """All of it can be repeated: the same question gets the same answer, or a later one."""

    def __init__(
        self, store: Store, spool: Spool, publisher: Publisher, trash: Trash, guard: BuildGuard, privacy: Privacy
    ) -> None:
        self._store = store
        self._spool = spool
        self._publisher = publisher
        self._trash = trash
        self._guard = guard
        self._privacy = privacy
        self._lock = asyncio.Lock()
        self._highest = 0

    async def start(self) -> None:
        """Take up what a former process left."""
        await asyncio.to_thread(self._trash.load)
        await asyncio.to_thread(self._privacy.load)
        for entry in self._trash.entries.values():
            if entry.build_id is not None:
                self._guard.remove(entry.build_id)
        self._highest = await asyncio.to_thread(self._find_highest)

    # -- repositories --------------------------------------------------------------------------------------------

    async def ensure_repo(self, repo: Repo) -> ControlAnswer:
        """The repository is there, empty when it is new."""
        async with self._lock:
            if self._trash.holds_path(f"{RESULTS}/{repo.owner}/{repo.dirname}"):
                return ControlAnswer(ready=False, message=f"{repo.owner}/{repo.dirname} is still being removed")
            await asyncio.to_thread(self._trash.keep_repo, repo)
        await self._publisher.publish(repo, {}, at_once=True)
        return ControlAnswer()

    async def remove_repo(self, repo: Repo) -> ControlAnswer:
        async with self._lock:
            part = await asyncio.to_thread(self._part_of, repo)
            if part is None:
                return ControlAnswer(message="nothing is left")
            entry = None if self._trash.holds_repo(repo) else await asyncio.to_thread(self._trash.add, [part], [])
        if entry is not None:
            await self._unlist(entry)
        return ControlAnswer(ready=False, message="the files are deleted when the grace time is over")

    async def set_privacy(self, owner: str, project: str, request: ProjectRequest) -> ControlAnswer:
        """From now on for everything of the project."""
        async with self._lock:
            namespace = request.namespace if request.private else None
            await asyncio.to_thread(self._privacy.mark, owner, project, namespace)
        return ControlAnswer()

    async def remove_project(self, owner: str, project: str) -> ControlAnswer:
        async with self._lock:
            parts, paths, dirnames = await asyncio.to_thread(self._project, owner, project)
            if not dirnames:
                await asyncio.to_thread(self._privacy.mark, owner, project, None)
                return ControlAnswer(message="nothing is left")
            parts = [part for part in parts if not self._trash.holds_repo(part.repo)]
            paths = [path for path in paths if not self._trash.holds_path(path)]
            entry = await asyncio.to_thread(self._trash.add, parts, paths) if parts or paths else None
        if entry is not None:
            for path in entry.paths:
                await asyncio.to_thread(self._spool.forget_below, path.removeprefix(f"{RESULTS}/"))
            await self._unlist(entry)
        return ControlAnswer(ready=False, message="the files are deleted when the grace time is over")

    def _project(self, owner: str, project: str) -> tuple[list[TrashPart], list[str], list[str]]:
        """Its repositories, its other directories, and the names of all directories it has."""
        listed = self._store.list(f"{RESULTS}/{owner}")
        dirnames = [entry.name for entry in listed if entry.is_dir and belongs_to_project(entry.name, project)]
        repos = [
            Repo(owner, dirname, chroot) for dirname in dirnames for chroot in chroots_of(self._store, owner, dirname)
        ]
        parts = [part for repo in repos if (part := self._part_of(repo)) is not None]
        # The directories as wholes come last: they hold the SRPMs.
        return parts, [f"{RESULTS}/{owner}/{dirname}" for dirname in dirnames], dirnames

    def _part_of(self, repo: Repo) -> TrashPart | None:
        if self._store.stat(repo.results) is None:
            return None
        directories = result_directories(self._store, repo)
        return TrashPart(
            owner=repo.owner, dirname=repo.dirname, chroot=repo.chroot, directories=directories, whole=True
        )

    # -- builds --------------------------------------------------------------------------------------------------

    async def take_srpm(self, build_id: int, request: TakeSrpmRequest) -> ControlAnswer:
        """What the source step of another build left becomes this build's, if its SRPM is still the one asked for.

        Raises HttpError 410 when the build has been removed.
        """
        source, target = (
            f"{RESULTS}/{names.srpm_dir(request.owner, request.dirname, number)}"
            for number in (request.of_build, build_id)
        )
        async with self._guard.working(build_id, names.SOURCE_STEP), self._lock:
            if await asyncio.to_thread(self._sha256, f"{target}/{request.name}") == request.sha256:
                return ControlAnswer()  # taken before, whatever has become of the other build
            directory = f"{RESULTS}/{request.owner}/{request.dirname}"
            gone = self._trash.holds_path(source) or self._trash.holds_path(directory)
            found = None if gone else await asyncio.to_thread(self._sha256, f"{source}/{request.name}")
            if found != request.sha256:
                why = "is not in the store any more" if found is None else f"has the checksum {found} now"
                message = f"{request.name} of build {request.of_build} {why}"
                return ControlAnswer(ready=False, reason="SRPMNotFound", message=message)
            self.seen(build_id)
            await asyncio.to_thread(self._copy, source, target, request.name)
        return ControlAnswer()

    def _sha256(self, path: str) -> str | None:
        """None when there is no such file."""
        try:
            file, _entry = self._store.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        digest = hashlib.sha256()
        with file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def _copy(self, source: str, target: str, last: str) -> None:
        """All files of a directory. `last` shows that the others are there."""
        files = [entry.name for entry in self._store.list(source) if not entry.is_dir and entry.name[0] != "."]
        for name in sorted(files, key=lambda name: name == last):
            self._store.copy(f"{source}/{name}", f"{target}/{name}")

    async def remove_build(self, build_id: int, request: RemoveBuildRequest) -> ControlAnswer:
        """Returns when no repository lists the build; its files follow after the grace time."""
        if self._trash.of_build(build_id) is None:
            self._guard.remove(build_id)
        await self._guard.quiet(build_id)
        async with self._lock:
            entry = self._trash.of_build(build_id)
            if entry is None:
                parts, paths = await asyncio.to_thread(self._build, build_id, request)
                entry = await asyncio.to_thread(self._trash.add, parts, paths, build_id)
        if entry.due is None:
            await self._unlist(entry)
        await asyncio.to_thread(self._spool.forget, build_id)
        return ControlAnswer()

    def _build(self, build_id: int, request: RemoveBuildRequest) -> tuple[list[TrashPart], list[str]]:
        owner, dirname = request.owner, request.dirname
        parts = []
        for chroot in request.chroots or chroots_of(self._store, owner, dirname):
            repo = Repo(owner, dirname, chroot)
            directories = [name for name in result_directories(self._store, repo) if build_id_of(name) == build_id]
            if directories:
                parts.append(TrashPart(owner=owner, dirname=dirname, chroot=chroot, directories=directories))
        path = f"{RESULTS}/{names.srpm_dir(owner, dirname, build_id)}"
        return parts, [path] if self._store.stat(path) is not None else []

    def seen(self, build_id: int) -> None:
        """A step of this build stores something."""
        self._highest = max(self._highest, build_id)

    def highest_id(self) -> int:
        """Highest build id that ever stored anything here, 0 when none did."""
        return self._highest

    def _find_highest(self) -> int:
        highest = max(self._trash.highest_removed(), self._spool.highest_id())
        for owner in self._store.list(RESULTS):
            for dirname in self._store.list(f"{RESULTS}/{owner.name}"):
                for place in self._store.list(f"{RESULTS}/{owner.name}/{dirname.name}"):
                    entries = self._store.list(f"{RESULTS}/{owner.name}/{dirname.name}/{place.name}")
                    highest = max(highest, *(build_id_of(entry.name) or 0 for entry in entries), 0)
        return highest

    # -- the grace time ------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Go on with removals that were interrupted, delete what is overdue."""
        overdue = self._trash.overdue()
        for entry in list(self._trash.entries.values()):
            try:
                if entry.due is None:
                    await self._unlist(entry)
                elif entry in overdue:
                    await self._empty(entry)
            except OSError:
                # what is wrong with one repository must not keep the others' files for ever
                logger.exception("removal %s has not been finished; it is tried again", entry.id)

    async def _empty(self, entry: TrashEntry) -> None:
        async with self._lock:
            await asyncio.to_thread(self._trash.remember, self._highest)
            await asyncio.to_thread(self._trash.empty, entry)
            if entry.build_id is not None:
                self._guard.forget(entry.build_id)

    async def _unlist(self, entry: TrashEntry) -> None:
        await asyncio.gather(
            *(
                self._publisher.publish(part.repo, {directory: [] for directory in part.directories})
                for part in entry.parts
                if part.directories
            )
        )
        async with self._lock:
            if entry.due is None:
                await asyncio.to_thread(self._trash.unlisted, entry)
