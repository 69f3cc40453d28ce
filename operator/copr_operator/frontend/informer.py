"""Keeps the cache as the API server has it: a LIST of each kind, then its watch, again when that breaks."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from copr_operator.frontend.cache import Cache
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

logger = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before a broken watch is taken up again."""
RELIST = 600.0
"""Seconds after which a watch that ends is followed by a new LIST, which heals what the watch may have missed."""

Apply = Callable[[str, Mapping[str, Any]], None]


class Informers:
    def __init__(self, kube: KubeClient, cache: Cache, namespaces: tuple[str, ...], installation: str) -> None:
        self._kube = kube
        self._cache = cache
        places: tuple[str | None, ...] = namespaces or (None,)
        self._watched: list[tuple[str, str | None, Apply]] = [
            ("coprchroots", installation, cache.chroot_event),
            *(("coprprojects", place, cache.project_event) for place in places),
            *(("coprpackages", place, cache.package_event) for place in places),
            *(("coprbuilds", place, cache.build_event) for place in places),
        ]
        self._synced = {(plural, place): asyncio.Event() for plural, place, _ in self._watched}

    @property
    def synced(self) -> bool:
        """Whether every LIST has been read once."""
        return all(event.is_set() for event in self._synced.values())

    async def wait_synced(self) -> None:
        for event in self._synced.values():
            await event.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._keep(plural, place, apply), name=f"informer of {plural}")
            for plural, place, apply in self._watched
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, plural: str, place: str | None, apply: Apply) -> None:
        path, version, listed = paths.copr(plural, place), "", 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                if not version or loop.time() - listed > RELIST:
                    version, listed = await self._list(plural, place, path, apply), loop.time()
                    self._synced[plural, place].set()
                async for event in self._kube.watch(path, {"resourceVersion": version}):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        apply(event["type"], event["object"])
            except ApiError as error:
                if error.gone:
                    version = ""
                    continue
                logger.warning("the watch of %s broke: %s", plural, error)
                if error.forbidden and place is not None and plural != "coprchroots":
                    # The namespace is gone, and with it our Role: the others must not wait for it.
                    self._synced[plural, place].set()
            except Exception:
                logger.exception("the informer of %s failed; it begins anew", plural)
                version = ""
            await asyncio.sleep(PAUSE)

    async def _list(self, plural: str, place: str | None, path: str, apply: Apply) -> str:
        """Returns the LIST's resourceVersion. What was made while it was read is not taken for gone."""
        gone = self._cache.uids(plural, place)
        version = ""
        async for items, version in self._kube.list_pages(path):  # noqa: B007
            for item in items:
                gone.discard(item["metadata"]["uid"])
                apply("MODIFIED", item)
            await asyncio.sleep(0)  # a history of thousands must not stop the answers to others
        for uid in gone:
            apply("DELETED", {"metadata": {"uid": uid}})
        return version
