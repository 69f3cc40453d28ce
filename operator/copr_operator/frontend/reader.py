"""Builds and projects as clients name them: from the cache, and by a read-through before anything is said to be absent.

Clients GET right after they created, and may reach a replica whose watch is a moment behind.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from copr_operator.core.observed import ProjectView
from copr_operator.frontend.allowance import Allowance
from copr_operator.frontend.cache import Cache
from copr_operator.frontend.errors import CoprError, no_build, no_project, unavailable
from copr_operator.frontend.packages import Package, packages_of
from copr_operator.frontend.records import BuildRecord
from copr_operator.frontend.viewer import Viewer
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

ABSENT, ABSENT_SECONDS = 3, 1.0
"""How often the API server is asked again for what it didn't have: more than once, as it may be made meanwhile."""
_NAME = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
"""Of an owner or project: nothing else is ever asked for in a field selector."""


class Reader:
    def __init__(
        self,
        kube: KubeClient,
        cache: Cache,
        namespaces: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._absent = Allowance(ABSENT, ABSENT_SECONDS, clock)
        self._at_once = asyncio.Semaphore(8)

    def sees(self, namespace: str) -> bool:
        """Whether objects of a namespace are looked for at all."""
        return None in self._namespaces or namespace in self._namespaces

    async def build(self, build_id: int, viewer: Viewer) -> BuildRecord:
        """Raises CoprError 404, also for a build that the viewer may not see, and 503."""
        record = self._cache.builds.get(build_id)
        if record is None and 0 < build_id < 2**53:
            await self._read_through("coprbuilds", {"status.id": str(build_id)}, self._cache.build_event)
            record = self._cache.builds.get(build_id)
        if record is None or not await self._shown(record, viewer):
            raise no_build(build_id)
        return record

    async def _shown(self, record: BuildRecord, viewer: Viewer) -> bool:
        """A build whose project is gone may have been private."""
        project = await self.project_of(record)
        return await (viewer.is_admin() if project is None else viewer.may_read(project.spec))

    async def find_project(self, owner: str, name: str) -> ProjectView | None:
        """Whoever asks. Raises CoprError 503."""
        project = self._cache.project(owner, name)
        if project is None and _NAME.fullmatch(owner) and _NAME.fullmatch(name):
            selector = {"spec.owner": owner, "spec.name": name}
            await self._read_through("coprprojects", selector, self._cache.project_event)
            project = self._cache.project(owner, name)
        return project

    async def project(self, owner: str, name: str, viewer: Viewer) -> ProjectView:
        """Raises CoprError 404, also for a project that the viewer may not see, and 503."""
        project = await self.find_project(owner, name)
        if project is None or not await viewer.may_read(project.spec):
            raise no_project(owner, name)
        return project

    async def visible(self, projects: Iterable[ProjectView], viewer: Viewer) -> list[ProjectView]:
        """Those that the viewer may see."""
        return [project for project in projects if await viewer.may_read(project.spec)]

    async def packages(self, project: ProjectView, wanted: str | None = None) -> dict[str, Package]:
        """By name; looked up before the one that is `wanted` is said to be absent. Raises CoprError 503."""
        found = packages_of(self._cache.packages_of(project), self._cache.of_project(project))
        if wanted is None or wanted in found or not _NAME.fullmatch(wanted):
            return found
        spec = project.spec
        selector = {"spec.owner": spec.owner, "spec.project": spec.name, "spec.name": wanted}
        await self._read_through("coprpackages", selector, self._cache.package_event)
        return packages_of(self._cache.packages_of(project), self._cache.of_project(project))

    async def project_of(self, record: BuildRecord) -> ProjectView | None:
        """The project whose rights hold for a build; None when there is none in its namespace."""
        project = self._cache.project_of(record)
        if project is None and await self.find_project(record.owner, record.project) is not None:
            project = self._cache.project_of(record)
        return project

    async def listed(self, plural: str, selector: Mapping[str, str]) -> list[dict[str, Any]]:
        """What the API server has of a kind, by fields, in the namespaces of this installation. Raises ApiError."""
        query = ",".join(f"{path}={value}" for path, value in selector.items())
        found: list[dict[str, Any]] = []
        for place in self._namespaces:
            try:
                answer = await self._kube.get(paths.copr(plural, place), {"fieldSelector": query})
            except ApiError as error:
                if place is not None and error.forbidden:
                    continue  # the namespace is gone, and with it our Role: nothing is there
                raise
            found += answer.get("items") or ()
        return found

    async def _read_through(
        self, plural: str, selector: Mapping[str, str], apply: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        key = f"{plural}?{sorted(selector.items())}"
        if self._absent.spent(key):
            return
        try:
            async with self._at_once:
                found = await self.listed(plural, selector)
        except ApiError as error:
            raise refused(error) from None
        for item in found:
            apply("MODIFIED", item)
        if not found:
            self._absent.use(key)


def refused(error: ApiError) -> CoprError:
    """What a client hears of a request that the API server refused or did not answer."""
    if error.transient:
        return unavailable("The Kubernetes API can't be reached now; try again.")
    if error.forbidden:
        # A quota, an admission policy, or the frontend's own rights: the text says which.
        return CoprError(403, f"The cluster does not allow it: {error.message[:1000]}")
    if error.status == 422:
        return CoprError(400, f"Bad request parameters: {error.message[:1000]}")
    return CoprError(500, f"The cluster refused it: {error.status} {error.reason}")
