"""When what happened, seen from outside: the same watches for all contestants, of Jobs and CoprBuilds.

And of Pods, where it matters when they end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from copr_operator.api.common import TERMINAL
from copr_operator.core import names
from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient


class BenchError(Exception):
    """The run can't go on, or its numbers would mean nothing."""


@dataclass
class Unit:
    """One build, or one bare chain of Jobs. Times are those of the event loop, in seconds."""

    posted: float = 0.0
    """When the API server had accepted what the user sent."""
    made: dict[str, float] = field(default_factory=dict)
    """By step: when its Job was seen."""
    done: dict[str, float] = field(default_factory=dict)
    """By step: when its Job was seen complete."""
    left: dict[str, float] = field(default_factory=dict)
    """By step: when its pod was seen to have succeeded, if pods are looked at."""
    ended: float | None = None
    state: str = ""
    """As last seen; the final one stays."""


class Observer:
    """Use with `async with serve()`. Units are known by the build's uid, which is a label of every Job."""

    def __init__(self, kube: KubeClient, namespace: str, *, pods: bool = False) -> None:
        self._kube = kube
        self._looks = {paths.jobs(namespace): self._job, paths.copr("coprbuilds", namespace): self._build}
        if pods:
            self._looks[paths.core("pods", namespace)] = self._pod
        self.units: dict[str, Unit] = {}
        self.on_job_done: Callable[[str, str], None] = lambda uid, step: None
        """Called with uid and step (SOURCE_STEP or a chroot's label)."""
        self.ended = 0
        """Units that have ended so far."""
        self._news = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Observer"]:
        tasks = [asyncio.create_task(self._watch(path, look)) for path, look in self._looks.items()]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def unit(self, uid: str) -> Unit:
        return self.units.setdefault(uid, Unit())

    def posted(self, uid: str) -> None:
        self.unit(uid).posted = asyncio.get_running_loop().time()

    def end(self, uid: str, state: str) -> None:
        """Counts a unit as ended; later news of it changes nothing."""
        unit = self.unit(uid)
        if unit.ended is None:
            unit.ended, unit.state = asyncio.get_running_loop().time(), state
            self.ended += 1
            self._news.set()

    async def until_ended(self, count: int, patience: float) -> None:
        """Returns when `count` units have ended in all. Raises BenchError when none ends for `patience` seconds."""
        await self.until(
            lambda: self.ended >= count, patience, lambda: f"{count} should have ended: {self._progress()}"
        )

    def _progress(self) -> str:
        units = self.units.values()
        made, done = (
            sum(len(times) for times in each) for each in zip(*((u.made, u.done) for u in units), strict=True)
        )
        return f"{len(units)} units, {made} Jobs made, {done} complete, {self.ended} units ended"

    async def until(self, reached: Callable[[], bool], patience: float, describe: Callable[[], str]) -> None:
        """Looks whenever a Job or build has changed. Raises BenchError when nothing changes for `patience` seconds."""
        while not reached():
            self._news.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._news.wait()
            except TimeoutError:
                raise BenchError(f"no news for {patience:.0f} s: {describe()}") from None

    async def _watch(self, path: str, look: Callable[[dict[str, Any]], None]) -> None:
        version = ""
        while True:
            with contextlib.suppress(ApiError):
                if not version:
                    async for items, version in self._kube.list_pages(path):  # noqa: B007
                        for item in items:
                            look(item)
                async for event in self._kube.watch(path, {"resourceVersion": version}):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in ("ADDED", "MODIFIED"):
                        look(event["object"])
                continue
            version = ""
            await asyncio.sleep(0.05)

    def _pod(self, pod: dict[str, Any]) -> None:
        uid, step = _whose(pod)
        if pod["status"].get("phase") == "Succeeded":
            self.unit(uid).left.setdefault(step, asyncio.get_running_loop().time())

    def _job(self, job: dict[str, Any]) -> None:
        uid, step = _whose(job)
        unit, now = self.unit(uid), asyncio.get_running_loop().time()
        if step not in unit.made:
            unit.made[step] = now
            self._news.set()
        if job["status"].get("completionTime") and step not in unit.done:
            unit.done[step] = now
            self._news.set()
            self.on_job_done(uid, step)

    def _build(self, build: dict[str, Any]) -> None:
        state = (build.get("status") or {}).get("state")
        uid = build["metadata"]["uid"]
        if state in TERMINAL:
            self.end(uid, state)
        elif state is not None and self.unit(uid).ended is None:
            self.unit(uid).state = state
            self._news.set()


def _whose(obj: dict[str, Any]) -> tuple[str, str]:
    """uid of the build and name of the step that a Job or Pod belongs to."""
    labels = obj["metadata"]["labels"]
    return labels[names.LABEL_BUILD_UID], labels.get(names.LABEL_CHROOT, names.SOURCE_STEP)
