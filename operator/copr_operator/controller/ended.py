"""Ended builds: nobody holds them, and only their deletion needs work. A watch that sends metadata only tells of it.

How far that watch has come is kept with the Lease, whose renewals carry it at no cost: the next controller goes on
from there, and reads years of ended builds only when the API server's history does not reach back so far.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from copr_operator.controller.store import Key
from copr_operator.kube import paths
from copr_operator.kube.client import METADATA_ONLY, METADATA_ONLY_LIST, ApiError, KubeClient
from copr_operator.kube.reflector import Reflector
from copr_operator.kube.versions import is_newer

log = logging.getLogger(__name__)

ENDED_SELECTOR = ",".join(f"status.state!={state}" for state in ("", "importing", "pending", "starting", "running"))
PAGE, PAUSE = 100, 0.05
"""Builds in a page of a list, and seconds between two: years of them must neither fill the memory nor hold up what has
just begun."""
EVERYWHERE = ""
"""The namespace's name where all are watched at once."""


class EndedBuilds:
    """Wakes ended builds that are deleted or changed."""

    def __init__(self, kube: KubeClient, wake: Callable[[Key], None], namespaces: Iterable[str | None]) -> None:
        self._places = {namespace or EVERYWHERE: _Place(kube, wake, namespace) for namespace in namespaces}

    async def watch(self, heard: str, newest: str) -> None:
        """Runs until it is cancelled. `heard`: what a former controller has written of `heard()`, or nothing; `newest`:
        a version that the API server has just told. What is newer is of another history (a restored etcd)."""
        before = _read(heard)
        async with asyncio.TaskGroup() as group:
            for name, place in self._places.items():
                version = before.get(name, "")
                group.create_task(place.watch("" if is_newer(version, newest) else version))

    async def find_deleted(self) -> None:
        """Wakes those that are being deleted, and whose deletion the watch has not shown."""
        for place in self._places.values():
            try:
                await place.list()
            except ApiError as error:
                log.warning("ended builds can't be listed: %s", error)

    def heard(self) -> str:
        """Up to where everything has been heard and is done: JSON, a version by namespace. Empty when nothing is."""
        versions = {name: version for name, place in self._places.items() if (version := place.heard())}
        return json.dumps(versions, separators=(",", ":")) if versions else ""


def _read(heard: str) -> dict[str, str]:
    """What can't be read counts for nothing: a list says all of it."""
    try:
        found = json.loads(heard or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        log.warning("the Lease does not say how far ended builds were watched: %s", heard[:200])
        return {}
    return {name: version for name, version in found.items() if isinstance(version, str) and version.isdigit()}


class _Place:
    """The ended builds of one namespace (None: of all)."""

    def __init__(self, kube: KubeClient, wake: Callable[[Key], None], namespace: str | None) -> None:
        self._kube = kube
        self._wake = wake
        self._path = paths.copr("coprbuilds", namespace)
        self._leaving: set[str] = set()
        """uids of those that are being deleted. While there are any the next controller must hear of them too."""
        self._heard = ""
        self._reflector = Reflector(
            kube, self._path, {"fieldSelector": ENDED_SELECTOR}, self._relist, self._apply, accept=METADATA_ONLY
        )

    async def watch(self, version: str) -> None:
        self._heard = version
        await self._reflector.run(version)

    def heard(self) -> str:
        if not self._leaving:
            self._heard = self._reflector.version or self._heard
        return self._heard

    async def _relist(self) -> str:
        self._leaving.clear()
        self._heard = ""
        return await self.list(self._leaving.add)

    async def list(self, leaving: Callable[[str], None] = lambda uid: None) -> str:
        """Wakes those that are being deleted, and tells their uids; returns the version from which a watch goes on."""
        version = ""
        params = {"fieldSelector": ENDED_SELECTOR}
        pages = self._kube.list_pages(self._path, params, page=PAGE, accept=METADATA_ONLY_LIST)
        async for items, version in pages:  # noqa: B007
            for item in items:
                meta = item["metadata"]
                if "deletionTimestamp" in meta:
                    leaving(meta["uid"])
                    self._wake(Key("build", meta["namespace"], meta["name"]))
            await asyncio.sleep(PAUSE)
        return version

    def _apply(self, kind: str, obj: Mapping[str, Any]) -> None:
        """ADDED is a build that has just ended; only one that is being deleted needs more."""
        meta = obj["metadata"]
        if kind == "DELETED":
            self._leaving.discard(meta["uid"])
            return
        leaves = "deletionTimestamp" in meta
        if leaves:
            self._leaving.add(meta["uid"])
        if leaves or kind == "MODIFIED":
            self._wake(Key("build", meta["namespace"], meta["name"]))
