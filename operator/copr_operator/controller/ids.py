"""Build ids: small growing integers, never reused, in blocks taken from one counter object by compare-and-swap.

The counter is a ConfigMap in the installation's namespace. A block that was taken but not used up is lost: gaps are
allowed. After a restore of the cluster the counter may be behind: it starts above the highest id in the results store.
The backend is asked for that once, for all builds; while it is away none gets an id, and nobody waits for it for long:
workers are needed for builds that run.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from copr_operator.controller.backend import BackendError
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

COUNTER = "copr-operator-build-ids"
BLOCK = 20
PATIENCE = 1.0
"""Seconds that builds wait for the backend's answer, counted from the question; afterwards they come again later."""


class IdsUnavailableError(Exception):
    """The backend has not said how high ids are."""

    def __init__(self, problem: str, again: float) -> None:
        super().__init__(problem)
        self.again = again
        """Seconds after which to ask for an id again."""


class IdAllocator:
    """Ids for builds, the same one for the same uid until it is written."""

    def __init__(
        self, kube: KubeClient, namespace: str, highest_used: Callable[[], Awaitable[int]], retry: float
    ) -> None:
        """`retry`: seconds until a backend that has not told is asked again."""
        self._kube = kube
        self._namespace = namespace
        self._highest_used = highest_used
        self._retry = retry
        self._floor: int | None = None
        self._asking: asyncio.Task[None] | None = None
        self._patience = 0.0
        """Until when the answer is waited for, in loop time."""
        self._problem, self._retry_at = "", 0.0
        self._next = 0
        self._end = 0
        self._given: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def for_build(self, uid: str) -> int:
        """The id of this build, taken now if it has none. Raises IdsUnavailableError, and ApiError."""
        if uid in self._given:
            return self._given[uid]
        if self._floor is None:
            await self._learn_floor()
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

    async def _learn_floor(self) -> None:
        """Returns when the lowest free id is known. One question for all who ask, and one failure."""
        now = asyncio.get_running_loop().time()
        if self._asking is None:
            if now < self._retry_at:
                raise IdsUnavailableError(self._problem, self._retry_at - now)
            self._asking = asyncio.create_task(self._ask(), name="the highest id")
            self._patience = now + PATIENCE
        if now < self._patience:
            await asyncio.wait({self._asking}, timeout=self._patience - now)
        if self._floor is None:
            raise IdsUnavailableError(self._problem or "the backend has not answered yet", self._retry)

    async def _ask(self) -> None:
        self._problem, loop = "", asyncio.get_running_loop()
        try:
            self._floor = await self._highest_used() + 1
        except BackendError as error:
            self._problem = str(error)
            log.warning("no build gets an id: %s", error)
        except Exception as error:
            self._problem = f"the backend's answer can't be read: {error!r}"
            log.exception("no build gets an id")
        finally:
            self._asking = None
            self._retry_at = loop.time() + self._retry

    async def _take_block(self) -> None:
        assert self._floor is not None  # noqa: S101 (`for_build` has seen to it)
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
