"""Results of a build, taken over as those of another: how a forked project gets its packages without building them."""

import asyncio
import logging

from copr_operator.backend import checks
from copr_operator.backend.errors import RefusedError
from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.ingest import RpmReader
from copr_operator.backend.layout import RESULTS, SUCCESS, Repo, build_id_of
from copr_operator.backend.privacy import Privacy
from copr_operator.backend.publisher import Publisher
from copr_operator.backend.store import Store
from copr_operator.backend.trash import Trash, result_directories
from copr_operator.core import names
from copr_operator.core.wire import ArtifactRef, CopiedBuild, CopiedChroot, CopyBuildRequest

logger = logging.getLogger(__name__)

STEP = "copy"


class Forks:
    def __init__(
        self, store: Store, reader: RpmReader, publisher: Publisher, trash: Trash, guard: BuildGuard, privacy: Privacy
    ) -> None:
        self._store = store
        self._reader = reader
        self._publisher = publisher
        self._trash = trash
        self._guard = guard
        self._privacy = privacy

    async def copy(self, build_id: int, request: CopyBuildRequest) -> CopiedBuild:
        """Safe to repeat. An answer without a package: there is nothing to be taken over, or not by this namespace.
        What a former request has taken over stays, whatever has become of the origin since.

        Raises HttpError 410 when the new build has been removed.
        """
        namespace = self._privacy.namespace(request.from_owner, request.from_dirname)
        readable = namespace in (None, request.namespace)
        async with self._guard.working(build_id, STEP):
            copied = await self._source(build_id, request, readable=readable)
            if copied.package is None:
                return copied
            chroots = [await self._chroot(build_id, request, chroot, readable=readable) for chroot in request.chroots]
            found = tuple(chroot for chroot in chroots if chroot is not None)
            return copied.model_copy(update={"chroots": found})

    async def _source(self, build_id: int, request: CopyBuildRequest, *, readable: bool) -> CopiedBuild:
        """SRPM, spec and logs of the source step."""
        old = f"{RESULTS}/{names.srpm_dir(request.from_owner, request.from_dirname, request.from_id)}"
        new = f"{RESULTS}/{names.srpm_dir(request.owner, request.dirname, build_id)}"
        entries = await asyncio.to_thread(self._files, old) if readable else []
        srpm = _only_srpm(entries)
        if srpm is not None:
            await asyncio.to_thread(self._link, old, new, entries)
        else:
            srpm = _only_srpm(await asyncio.to_thread(self._files, new))
        if srpm is None:
            return CopiedBuild()
        try:
            rpm = await self._reader.inspect(f"{new}/{srpm}", srpm)
            package = checks.check_srpm(srpm, rpm)
        except RefusedError as refused:
            logger.error("%s/%s can't be read any more: %s", new, srpm, refused.message)
            return CopiedBuild()
        await asyncio.to_thread(self._store.put, f"{new}/{SUCCESS}", b"done\n")
        return CopiedBuild(package=package, srpm=ArtifactRef(name=srpm, sha256=rpm.sha256, size=rpm.size))

    async def _chroot(
        self, build_id: int, request: CopyBuildRequest, chroot: str, *, readable: bool
    ) -> CopiedChroot | None:
        """None when the build has no packages in this chroot."""
        old = Repo.of(request.from_owner, request.from_dirname, chroot)
        new = Repo.of(request.owner, request.dirname, chroot)
        if self._trash.holds_repo(new):
            return None
        there = readable and not self._trash.holds_repo(old)
        for directory in await asyncio.to_thread(result_directories, self._store, old) if there else ():
            entries = await asyncio.to_thread(self._files, f"{old.results}/{directory}")
            removed = directory in self._trash.directories(old)
            if build_id_of(directory) != request.from_id or SUCCESS not in entries or removed:
                continue
            name = f"{names.build_dir(build_id)}-{directory.partition('-')[2]}"
            # Files first, then the metadata that names them; what is listed never changes.
            await asyncio.to_thread(self._link, f"{old.results}/{directory}", f"{new.results}/{name}", entries)
            packages = await self._reader.directory(new, name)
            await self._publisher.publish(new, {name: packages})
            await asyncio.to_thread(self._store.put, f"{new.results}/{name}/{SUCCESS}", b"done\n")
            return CopiedChroot(name=chroot, packages=len(packages))
        # What is listed was whole before.
        for directory, listed in (await self._publisher.published(new)).by_directory.items():
            if build_id_of(directory) == build_id and listed:
                await asyncio.to_thread(self._store.put, f"{new.results}/{directory}/{SUCCESS}", b"done\n")
                return CopiedChroot(name=chroot, packages=len(listed))
        return None

    def _files(self, directory: str) -> list[str]:
        return [entry.name for entry in self._store.list(directory) if not entry.is_dir and entry.name[0] != "."]

    def _link(self, old: str, new: str, files: list[str]) -> None:
        """The files have no directory of their own to share: each is a link, and stays when the origin is removed."""
        for name in files:
            if name != SUCCESS:
                self._store.copy(f"{old}/{name}", f"{new}/{name}")


def _only_srpm(entries: list[str]) -> str | None:
    """Name of the SRPM of a source step that has succeeded."""
    srpms = [name for name in entries if name.endswith(checks.SOURCE_SUFFIX)]
    return srpms[0] if SUCCESS in entries and len(srpms) == 1 else None
