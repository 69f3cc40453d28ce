"""Build ids: small growing integers, never reused, in blocks taken from one counter object by compare-and-swap.

The counter is a ConfigMap in the installation's namespace. A block that was taken but not used up is lost: gaps are
allowed. After a restore of the cluster the counter may be behind: it starts above the highest id in the results store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

COUNTER = "copr-operator-build-ids"
BLOCK = 20


class IdAllocator:
    """Ids for builds, the same one for the same uid until it is written."""

    def __init__(self, kube: KubeClient, namespace: str, highest_used: Callable[[], Awaitable[int]]) -> None:
        self._kube = kube
        self._namespace = namespace
        self._highest_used = highest_used
        self._floor: int | None = None
        self._next = 0
        self._end = 0
        self._given: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def for_build(self, uid: str) -> int:
        """The id of this build, taken now if it has none. Raises what the API server or the store raise."""
        async with self._lock:
            if uid not in self._given:
                if self._next >= self._end:
                    await self._take_block()
                self._given[uid] = self._next
                self._next += 1
            return self._given[uid]

    def written(self, uid: str) -> None:
        """The id is in the build's status: it need not be remembered."""
        self._given.pop(uid, None)

    async def _take_block(self) -> None:
        if self._floor is None:
            self._floor = await self._highest_used() + 1
        path = paths.core("configmaps", self._namespace, COUNTER)
        while True:
            found = await self._kube.find(path)
            try:
                if found is None:
                    start = self._floor
                    manifest = {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "metadata": {
                            "name": COUNTER,
                            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
                            "annotations": {"helm.sh/resource-policy": "keep"},
                        },
                        "data": {"next": str(start + BLOCK)},
                    }
                    await self._kube.create(paths.core("configmaps", self._namespace), manifest)
                else:
                    start = max(_next(found), self._floor)
                    version = found["metadata"]["resourceVersion"]
                    change = {"metadata": {"resourceVersion": version}, "data": {"next": str(start + BLOCK)}}
                    await self._kube.patch(path, change)
            except ApiError as error:
                if error.conflict:  # another controller was faster: its block is not ours
                    continue
                raise
            self._next, self._end = start, start + BLOCK
            log.info("took build ids %d to %d", start, start + BLOCK - 1)
            return


def _next(counter: Mapping[str, Any]) -> int:
    """Raises ValueError for a counter that somebody has broken: guessing could give an id twice."""
    value = (counter.get("data") or {}).get("next", "")
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"ConfigMap {COUNTER}: data.next is {value!r}, not the next free build id")
    return int(value)
