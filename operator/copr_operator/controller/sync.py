"""A full picture before work starts, its repair now and then, and the watches that kopf has no part in.

Jobs and Pods are most of all events: they are watched by Reflectors, which go on from the first LIST. Of ended builds
nothing is kept (ended.py).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from copr_operator.controller.ended import EndedBuilds
from copr_operator.controller.feeder import ACTIVE_SELECTOR, OURS_SELECTOR, Apply, Feeder
from copr_operator.controller.store import Key, Store
from copr_operator.controller.table import Table
from copr_operator.core.observed import BuildView
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient, Params
from copr_operator.kube.reflector import Reflector
from copr_operator.kube.versions import is_newer

log = logging.getLogger(__name__)


class OtherHistoryError(Exception):
    """The API server's versions are lower than they were: its etcd was restored. All that is held, and the versions by
    which late events are known, are of a history that never was: only a new process is rid of them."""


@dataclass(frozen=True)
class _Source:
    """One LIST: where it is read, and what becomes of its objects and of those that are not in it any more."""

    path: str
    params: Params
    table: Table[Any]
    namespace: str | None
    """None: all of them."""
    apply: Apply
    drop: Callable[[Any], None]
    """Called with the view of an object that is gone."""


class Synchronizer:
    """Lists everything; watches Jobs and Pods, and has ended builds watched."""

    def __init__(
        self,
        kube: KubeClient,
        store: Store,
        feeder: Feeder,
        wake: Callable[[Key], None],
        namespaces: Iterable[str],
        installation: str,
        on_ghosts: Callable[[int], None],
    ) -> None:
        self._kube = kube
        self._store = store
        self._wake = wake
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._installation = installation
        self._on_ghosts = on_ghosts
        self._versions: dict[str, str] = {}
        """By path: version of the first LIST of what is watched from there on."""
        self._newest: dict[str, str] = {}
        """By path: version of the last LIST."""
        self.ended = EndedBuilds(kube, wake, self._namespaces)
        ours, active = {"labelSelector": OURS_SELECTOR}, {"fieldSelector": ACTIVE_SELECTOR}
        self._definitions = [
            _Source(
                paths.copr("coprchroots", installation), {}, store.chroot_objects, installation, feeder.chroot,
                partial(store.chroot_event, "DELETED"),
            ),
            *(
                _Source(
                    paths.copr("coprprojects", place), {}, store.projects, place, feeder.project,
                    partial(store.project_event, "DELETED"),
                )
                for place in self._namespaces
            ),
            *(
                _Source(
                    paths.copr("coprpackages", place), {}, store.packages, place, feeder.package,
                    partial(store.package_event, "DELETED"),
                )
                for place in self._namespaces
            ),
        ]  # fmt: skip
        self._work = [
            *(
                _Source(paths.jobs(place), ours, store.jobs, place, feeder.job, partial(store.job_event, "DELETED"))
                for place in self._namespaces
            ),
            *(
                _Source(
                    paths.core("pods", place), ours, store.pods, place, feeder.pod, partial(store.pod_event, "DELETED")
                )
                for place in self._namespaces
            ),
        ]
        self._builds = [
            _Source(paths.copr("coprbuilds", place), active, store.builds, place, feeder.build, self._drop_build)
            for place in self._namespaces
        ]

    async def resync(self, *, work: bool = True) -> None:
        """One full LIST of what is watched: brings what the watch missed, drops what is gone, wakes all that is live.
        No `work`: of our own kinds only.

        Jobs and Pods come before builds, so that no build is planned without the Jobs it has already.
        """
        store = self._store
        for source in self._definitions:
            await self._list(source)
        listed: set[str] = set()
        for source in self._work if work else ():
            version = await self._list(source, listed)
            self._versions.setdefault(source.path, version)
        for source in self._builds:
            await self._list(source)
        store.retire(listed)
        for project in store.projects.values():
            self._wake(Key("project", project.namespace, project.name))
        for package in store.packages.values():
            self._wake(Key("package", package.namespace, package.name))
        for build in store.builds.values():
            self._wake(Key("build", build.namespace, build.name))
        for job in store.jobs.values():
            if job.state == "active" and job.owner[0] and store.builds.get(job.namespace, job.owner[0]) is None:
                self._wake(Key("build", job.namespace, job.owner[0]))  # a Job whose build has ended must not run on

    async def _list(self, source: _Source, listed: set[str] | None = None) -> str:
        """Returns the LIST's version; uids go to `listed`. What was made while it was read is not taken for gone.

        Of a namespace that can't be read (its Role went with it, or is not there yet) all stays as it was: it must not
        keep the others from being looked after. Raises OtherHistoryError.
        """
        before = self._newest.get(source.path, "")
        gone, version = source.table.uids(source.namespace), ""
        try:
            async for items, version in self._kube.list_pages(source.path, source.params):  # noqa: B007
                for item in items:
                    gone.discard(item["metadata"]["uid"])
                    if listed is not None:
                        listed.add(item["metadata"]["uid"])
                    source.apply(None, item)
        except ApiError as error:
            if not error.forbidden or source.namespace in (None, self._installation):
                raise
            kind = source.path.rpartition("/")[2]
            log.error("%s of namespace %s can't be read: %s", kind, source.namespace, error.message)
            if listed is not None:
                listed |= source.table.uids(source.namespace)
            return ""
        # Without a resourceVersion in its request a LIST is never older than one that was answered before it was asked.
        if is_newer(before, version, unknown=False):
            raise OtherHistoryError(f"the API server is at version {version} and was at {before}: etcd was restored")
        self._newest[source.path] = version
        held = [view for view in map(source.table.find, gone) if view is not None]
        ghosts = [view for view in held if not is_newer(view.resource_version, version, unknown=False)]
        for view in ghosts:
            source.drop(view)
        if ghosts:
            log.info("%s: %d objects whose end the watch had not shown", source.path, len(ghosts))
            self._on_ghosts(len(ghosts))
        return version

    def _drop_build(self, build: BuildView) -> None:
        if self._store.drop_build(build.uid, build.resource_version) is not None:
            self._wake(Key("build", build.namespace, build.name))

    async def watch_work(self) -> None:
        """Keeps Jobs and Pods as the API server has them, from the first resync on. Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for source in self._work:
                reflector = Reflector(
                    self._kube, source.path, source.params, partial(self._list, source), source.apply
                )  # fmt: skip
                group.create_task(reflector.run(self._versions.get(source.path, "")))

    async def watch_ended(self, heard: str = "") -> None:
        """Keeps an eye on ended builds; `heard`: what the former controller wrote of `ended.heard()`."""
        await self.ended.watch(heard, max(self._versions.values(), key=_number, default=""))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0
