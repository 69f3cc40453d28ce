"""One active controller: a coordination.k8s.io Lease, taken before any watch starts and given up only by ending.

Times are measured on the own clock from when the record was seen to change, as client-go does: the clocks of two
machines need not agree. Losing the Lease ends the process: a successor must never work beside it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

log = logging.getLogger(__name__)

LEASE_NAME = "copr-operator-controller"
EXPIRED_BY = 0.05
"""Seconds after its end at which a Lease is tried again."""


class Lease:
    """`acquire` waits for the Lease; `hold` renews it and returns when it is lost or `release` is asked for."""

    def __init__(
        self,
        kube: KubeClient,
        namespace: str,
        identity: str,
        *,
        duration: float = 15.0,
        renew_every: float = 5.0,
        retry_every: float = 1.0,
        name: str = LEASE_NAME,
        notes: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`notes`: annotations that each write of the record carries along."""
        self._kube = kube
        self._path = paths.leases(namespace, name)
        self._collection = paths.leases(namespace)
        self._name = name
        self.identity = identity
        self._duration = duration
        self._renew_every = renew_every
        self._retry_every = retry_every
        self._seen: tuple[str, str] | None = None
        self._seen_at = 0.0
        self._promised = 0.0
        """Seconds from then on for which the holder has it."""
        self._notes = notes
        self.found: Mapping[str, str] = {}
        """Annotations of the record as it was when it was taken."""
        self._version = ""
        """resourceVersion of the record as we have last written it."""
        self.renewed_at = 0.0
        """Loop time of the last successful renewal."""
        self.standing_by = False
        """Whether the record was read, and another holds the Lease."""

    async def acquire(self) -> None:
        """Returns when this process holds the Lease."""
        while True:
            try:
                if await self._try_acquire():
                    log.info("holds the Lease %s as %s", self._name, self.identity)
                    return
            except ApiError as error:
                if not (error.transient or error.conflict):
                    raise
                log.warning("the Lease can't be taken: %s", error)
            left = self._seen_at + self._promised - asyncio.get_running_loop().time()
            await asyncio.sleep(min(self._retry_every, left + EXPIRED_BY if left >= 0 else self._retry_every))

    async def hold(self) -> None:
        """Renews until the Lease is lost; then returns.

        It counts as lost while it is still ours, `renew_every` before others may take it: also when the API server
        leaves a request without an answer.
        """
        pause = self._renew_every
        while True:
            await asyncio.sleep(pause)
            pause = self._renew_every
            try:
                async with asyncio.timeout_at(self.renewed_at + self._duration - self._renew_every):
                    if not await self._renew():
                        log.error("another controller holds the Lease")
                        return
            except ApiError as error:
                log.warning("the Lease can't be renewed: %s", error)
                pause = min(self._retry_every, self._renew_every)
            except TimeoutError:
                log.error("the Lease was not renewed in time")
                return

    async def release(self) -> None:
        """Lets the next controller in at once."""
        try:
            found = await self._kube.find(self._path)
            if found is not None and found["spec"].get("holderIdentity") == self.identity:
                await self._kube.patch(
                    self._path,
                    {
                        "metadata": self._metadata(found["metadata"]["resourceVersion"]),
                        "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
                    },
                )
        except ApiError as error:
            log.warning("the Lease could not be released: %s", error)

    async def _try_acquire(self) -> bool:
        now = asyncio.get_running_loop().time()
        found = await self._kube.find(self._path)
        if found is None:
            manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": {**self._record(), "acquireTime": self._time(), "leaseTransitions": 0},
            }
            self._written(await self._kube.create(self._collection, manifest), now)
            return True
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        change: dict[str, Any] = self._record()
        if holder != self.identity:
            if holder and not self._expired(spec, now):
                self.standing_by = True
                return False
            change |= {"acquireTime": self._time(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        change = {"metadata": self._metadata(found["metadata"]["resourceVersion"]), "spec": change}
        self.found = found["metadata"].get("annotations") or {}
        self._written(await self._kube.patch(self._path, change), now)
        return True

    async def _renew(self) -> bool:
        """One request, as long as nobody else has written: a slow API server has time for it when not for two."""
        now = asyncio.get_running_loop().time()
        change = {"metadata": self._metadata(self._version), "spec": self._record()}
        try:
            self._written(await self._kube.patch(self._path, change), now)
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise
            return await self._try_acquire()
        return True

    def _written(self, record: Mapping[str, Any], asked: float) -> None:
        """`asked`: when, in loop time; the Lease lasts from then on."""
        self._version, self.renewed_at = record["metadata"]["resourceVersion"], asked
        self.standing_by = False

    def _expired(self, spec: dict[str, Any], now: float) -> bool:
        seen = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        self._promised = float(spec.get("leaseDurationSeconds") or self._duration)
        return now - self._seen_at > self._promised

    def _metadata(self, version: str) -> dict[str, Any]:
        notes = self._notes()
        return {"resourceVersion": version, **({"annotations": dict(notes)} if notes else {})}

    def _record(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._duration)),
            "renewTime": self._time(),
        }

    def _time(self) -> str:
        """For people to read: nobody measures by it."""
        return self._kube.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
