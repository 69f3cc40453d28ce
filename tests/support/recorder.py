"""Watches everything in a namespace over a connection of its own, and has every change judged, in the order of etcd.

Watches of several kinds are not ordered among each other. Their resourceVersions are, on one etcd: changes are kept
until every kind is known up to some version, and then judged in that order, several times a second.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from copr_operator.kube import paths
from copr_operator.kube.client import ApiError, KubeClient

Obj = dict[str, Any]
INTERVAL = 0.3


@dataclass(frozen=True)
class Change:
    """One write that the API server has committed."""

    version: int
    plural: str
    before: Obj | None
    """None for a new object."""
    after: Obj
    """For a deletion the object as it was at the end."""
    deleted: bool = False


class Recorder:
    """`judge` is called with every change of CoprBuilds, Jobs and Pods; what it raises is kept in `violations`."""

    def __init__(self, kube: KubeClient, namespace: str, judge: Callable[[Change], None]) -> None:
        self._kube = kube
        self._judge = judge
        self._paths = {
            "coprbuilds": paths.copr("coprbuilds", namespace),
            "jobs": paths.jobs(namespace),
            "pods": paths.core("pods", namespace),
        }
        self._held: defaultdict[str, dict[str, Obj]] = defaultdict(dict)
        """By plural, then uid: the newest state that a watch has shown."""
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        """By plural: every uid that a watch has ever shown."""
        self._pending: list[Change] = []
        self.changes = 0
        self.gaps = 0
        """How often a compaction has swallowed what happened between two versions."""
        self.violations: list[str] = []

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Recorder"]:
        """Records until the end, and then raises if anything was violated."""
        tasks = [asyncio.create_task(self._watch(plural)) for plural in self._paths]
        tasks.append(asyncio.create_task(self._judge_now_and_then()))
        try:
            yield self
            await self.check()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def check(self) -> None:
        """Judges all that was committed before now; raises AssertionError for anything that was ever violated."""
        await self._judge_all()
        assert not self.violations, "\n".join(self.violations[:10])

    # -- watching ------------------------------------------------------------------------------------------------------

    async def _watch(self, plural: str) -> None:
        path, version = self._paths[plural], ""
        while True:
            try:
                if not version:
                    version = await self._list(plural)
                async for event in self._kube.watch(path, {"resourceVersion": version}):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._see(plural, event["object"], deleted=event["type"] == "DELETED")
            except ApiError as error:
                if error.gone:
                    self.gaps += 1
                    version = ""
                    continue
                await asyncio.sleep(0.1)

    async def _list(self, plural: str) -> str:
        answer = await self._kube.get(self._paths[plural])
        version, there = answer["metadata"]["resourceVersion"], set()
        for item in answer["items"]:
            there.add(item["metadata"]["uid"])
            self._see(plural, item)
        for uid, obj in list(self._held[plural].items()):
            if uid not in there:
                ended = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
                self._see(plural, ended, deleted=True)
        return str(version)

    def _see(self, plural: str, obj: Obj, *, deleted: bool = False) -> None:
        held, uid = self._held[plural], obj["metadata"]["uid"]
        self._seen[plural].add(uid)
        before = held.get(uid)
        if before is not None and _version(before) >= _version(obj):
            return
        self._pending.append(Change(_version(obj), plural, before, obj, deleted))
        if deleted:
            held.pop(uid, None)
        else:
            held[uid] = obj

    # -- judging -------------------------------------------------------------------------------------------------------

    async def _judge_now_and_then(self) -> None:
        while True:
            with contextlib.suppress(ApiError):
                await self._judge_all()
            await asyncio.sleep(INTERVAL)

    async def _judge_all(self) -> None:
        """Judges everything up to a version that is known of every kind."""
        known = min([await self._known(plural) for plural in self._paths])
        due = sorted((c for c in self._pending if c.version <= known), key=lambda change: change.version)
        self._pending = [c for c in self._pending if c.version > known]
        for change in due:
            self.changes += 1
            try:
                self._judge(change)
            except AssertionError as error:
                name = change.after["metadata"]["name"]
                self.violations.append(f"at {change.version}, {change.plural} {name}: {error}")

    async def _known(self, plural: str) -> int:
        """A version up to which the watch of this kind has shown everything: that of a LIST, once all of it is here."""
        answer = await self._kube.get(self._paths[plural])
        listed = {item["metadata"]["uid"]: _version(item) for item in answer["items"]}
        version = int(answer["metadata"]["resourceVersion"])
        while not self._has_shown(plural, listed, version):
            await asyncio.sleep(0.01)
        return version

    def _has_shown(self, plural: str, listed: dict[str, int], version: int) -> bool:
        held = self._held[plural]
        gone = any(uid not in listed and _version(obj) <= version for uid, obj in held.items())
        old = any(uid in held and _version(held[uid]) < at for uid, at in listed.items())
        return not (gone or old or listed.keys() - self._seen[plural])


def _version(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])
