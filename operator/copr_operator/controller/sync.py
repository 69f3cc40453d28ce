"""What watches alone can't give: a full picture before work starts, its repair now and then, and the ended builds.

Ended builds are not watched; a second watch that sends metadata only and keeps nothing tells when one of them is
deleted or changed.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from copr_operator.controller.store import Key, Store
from copr_operator.controller.table import Table
from copr_operator.controller.transport import ACTIVE_SELECTOR, OURS_SELECTOR, Feeder
from copr_operator.core.observed import BuildView
from copr_operator.kube import paths
from copr_operator.kube.client import METADATA_ONLY, METADATA_ONLY_LIST, ApiError, KubeClient

log = logging.getLogger(__name__)

ENDED_SELECTOR = ",".join(f"status.state!={state}" for state in ("", "importing", "pending", "starting", "running"))
WATCH_PAUSE = 1.0
ENDED_PAGE, ENDED_PAUSE = 100, 0.05
"""Builds in a page of the list of ended ones, and seconds between two: years of them must neither fill the memory nor
hold up what has just begun."""


class Synchronizer:
    """Lists everything, and watches the metadata of ended builds."""

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
        self._feeder = feeder
        self._wake = wake
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._installation = installation
        self._on_ghosts = on_ghosts
        self.last_resync = 0.0

    async def resync(self) -> None:
        """One full LIST of what is watched: brings what the watch missed, drops what is gone, wakes all that is live.

        Jobs and Pods come before builds, so that no build is planned without the Jobs it has already.
        """
        store, feeder = self._store, self._feeder
        tables = (store.pods, store.jobs, store.builds, store.projects, store.packages, store.chroot_objects)
        held = [table.uids() for table in tables]
        living = await self._list("coprchroots", feeder.chroot, paths.copr, {}, (self._installation,))
        living |= await self._list("coprprojects", feeder.project, paths.copr, {})
        ours = {"labelSelector": OURS_SELECTOR}
        living |= await self._list("jobs", feeder.job, lambda _, namespace: paths.jobs(namespace), ours)
        living |= await self._list("pods", feeder.pod, paths.core, ours)
        living |= await self._list("coprbuilds", feeder.build, paths.copr, {"fieldSelector": ACTIVE_SELECTOR})
        living |= await self._list("coprpackages", feeder.package, paths.copr, {})
        self._drop_ghosts(set().union(*held) - living)
        for project in store.projects.values():
            self._wake(Key("project", project.namespace, project.name))
        for package in store.packages.values():
            self._wake(Key("package", package.namespace, package.name))
        for build in store.builds.values():
            self._wake(Key("build", build.namespace, build.name))
        for job in store.jobs.values():
            if job.state == "active" and job.owner[0] and store.builds.get(job.namespace, job.owner[0]) is None:
                self._wake(Key("build", job.namespace, job.owner[0]))  # a Job whose build has ended must not run on
        self.last_resync = asyncio.get_running_loop().time()

    async def _list(
        self,
        plural: str,
        apply: Callable[[str | None, dict[str, Any]], None],
        path: Callable[[str, str | None], str],
        params: dict[str, str],
        namespaces: tuple[str | None, ...] | None = None,
    ) -> set[str]:
        uids = set()
        for namespace in namespaces or self._namespaces:
            async for items, _ in self._kube.list_pages(path(plural, namespace), params):
                for item in items:
                    uids.add(item["metadata"]["uid"])
                    apply(None, item)
        return uids

    def _drop_ghosts(self, gone: set[str]) -> None:
        """`gone`: uids that were held before the LIST and are not in it. What was made meanwhile is not among them."""
        store, count = self._store, 0
        tables: tuple[tuple[Table[Any], Callable[[Any], None]], ...] = (
            (store.pods, lambda pod: store.pod_event("DELETED", pod)),
            (store.jobs, lambda job: store.job_event("DELETED", job)),
            (store.builds, self._drop_build),
            (store.projects, lambda project: store.project_event("DELETED", project)),
            (store.packages, lambda package: store.package_event("DELETED", package)),
            (store.chroot_objects, lambda chroot: store.chroot_event("DELETED", chroot)),
        )
        for table, drop in tables:
            for view in filter(None, map(table.find, gone)):
                count += 1
                drop(view)
        if count:
            log.info("the resync found %d objects whose end the watch had not shown", count)
            self._on_ghosts(count)

    def _drop_build(self, build: BuildView) -> None:
        if self._store.builds.drop(build.uid, build.resource_version) is not None:
            self._wake(Key("build", build.namespace, build.name))
            self._store.wake_packages(build)

    # -- ended builds ------------------------------------------------------------------------------------------------

    async def find_deleted(self) -> None:
        """Wakes ended builds that are being deleted, and whose deletion the watch has not shown."""
        for namespace in self._namespaces:
            await self._list_ended(paths.copr("coprbuilds", namespace))

    async def watch_ended(self) -> None:
        """Wakes ended builds that are deleted or changed. Runs until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._watch_ended(paths.copr("coprbuilds", namespace)))

    async def _watch_ended(self, path: str) -> None:
        version = ""
        while True:
            try:
                if not version:
                    version = await self._list_ended(path)
                params = {"fieldSelector": ENDED_SELECTOR, "resourceVersion": version}
                async for event in self._kube.watch(path, params, accept=METADATA_ONLY):
                    meta = event["object"]["metadata"]
                    version = meta["resourceVersion"]
                    # ADDED is a build that has just ended; only one that is being deleted needs more.
                    changed = event["type"] == "MODIFIED"
                    if changed or (event["type"] == "ADDED" and "deletionTimestamp" in meta):
                        self._wake(Key("build", meta["namespace"], meta["name"]))
            except ApiError as error:
                if error.gone:
                    version = ""
                    continue
                log.debug("the watch of ended builds broke: %s", error)
            await asyncio.sleep(WATCH_PAUSE)

    async def _list_ended(self, path: str) -> str:
        """Wakes ended builds that are being deleted; returns the version from which a watch goes on."""
        version = ""
        params = {"fieldSelector": ENDED_SELECTOR}
        pages = self._kube.list_pages(path, params, page=ENDED_PAGE, accept=METADATA_ONLY_LIST)
        async for items, version in pages:  # noqa: B007
            for item in items:
                meta = item["metadata"]
                if "deletionTimestamp" in meta:
                    self._wake(Key("build", meta["namespace"], meta["name"]))
            await asyncio.sleep(ENDED_PAUSE)
        return version
